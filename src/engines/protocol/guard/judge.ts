/** Moderation by chat: each input is put to a guard model, one after the other, and its verdicts become one answer. */
import { Fault } from '../../../platform/fault.ts'
import type {
  ChatTask,
  Engine,
  EngineCall,
  EngineRequest,
  EngineTask,
  ModerationResult,
  ModerationTask,
  StreamPart,
  TokenUsage,
} from '../../engine.ts'
import { truncated } from '../answer.ts'
import { guardOf, type Guard, type Question } from './families.ts'
import { toResult, type Verdict } from './verdict.ts'

type Run = Engine['run']

/** Moderation of a guard model goes by chat; all else goes its own way. */
export function withGuards(engine: Engine): Engine {
  const run: Run = (request, call) => {
    const guard = isModeration(request) ? guardOf(request.model) : undefined
    return guard && isModeration(request)
      ? moderate(guard, { request, call, run: engine.run.bind(engine) })
      : engine.run(request, call)
  }
  return { ...engine, run }
}

function isModeration(request: EngineRequest): request is EngineRequest<ModerationTask> {
  const task: EngineTask = request.task
  return task.kind === 'moderation'
}

interface Session {
  readonly request: EngineRequest<ModerationTask>
  readonly call: EngineCall
  readonly run: Run
}

/** The first question decides whether the engine takes the request at all. */
async function moderate(guard: Guard, session: Session): Promise<AsyncIterable<StreamPart>> {
  const { input } = session.request.task
  return judgeAll(guard, await start(guard.question, input[0] ?? '', session), session)
}

async function* judgeAll(
  guard: Guard,
  first: AsyncIterable<StreamPart>,
  session: Session,
): AsyncGenerator<StreamPart> {
  const results: ModerationResult[] = []
  const bill = new Map<keyof TokenUsage, number>()
  for (const [index, text] of session.request.task.input.entries()) {
    const answer = index === 0 ? first : await start(guard.question, text, session)
    const verdict = guard.read(await hear(answer, bill))
    results.push(toResult(await nameRisks(verdict, guard, { text, session, bill })))
    // What was asked so far is owed, even if the client leaves now.
    yield { type: 'usage', usage: totalOf(bill) }
  }
  yield { type: 'moderations', results }
  yield { type: 'end' }
}

async function nameRisks(
  verdict: Verdict,
  guard: Guard,
  about: { readonly text: string; readonly session: Session; readonly bill: Bill },
): Promise<Verdict> {
  if (verdict.severity === 'safe' || !guard.risks) return verdict
  const categories: string[] = []
  for (const { question, category } of guard.risks) {
    try {
      const answer = await start(question, about.text, about.session)
      const { severity } = guard.read(await hear(answer, about.bill))
      if (severity === 'unsafe') categories.push(category)
    } catch (error) {
      // A template that knows no single risks refuses them: it is unsafe all the same, without a category.
      if (!(error instanceof Fault) || error.code !== 'upstream.rejected') throw error
    }
  }
  return { ...verdict, categories }
}

function start(
  question: Question,
  text: string,
  { request, call, run }: Session,
): Promise<AsyncIterable<StreamPart>> {
  const task: ChatTask = { kind: 'chat', body: question(text) }
  return run({ ...request, task, stream: false }, call)
}

type Bill = Map<keyof TokenUsage, number>

/** The whole text of an answer; its last usage goes on the bill. */
async function hear(parts: AsyncIterable<StreamPart>, bill: Bill): Promise<string> {
  let text = ''
  let usage: TokenUsage | undefined
  let isWhole = false
  for await (const part of parts) {
    if (part.type === 'text-delta') text += part.text
    else if (part.type === 'usage') usage = part.usage
    else if (part.type === 'end') isWhole = true
  }
  if (!isWhole) throw truncated('a guard model did not end its answer')
  const counts: Readonly<Record<keyof TokenUsage, number>> = usage ?? unknown
  for (const key of usageKeys) bill.set(key, (bill.get(key) ?? 0) + counts[key])
  return text
}

const usageKeys = ['inputTokens', 'cachedInputTokens', 'outputTokens', 'reasoningTokens'] as const

/** One answer without figures makes the sum none, so that our own count is billed. */
const unknown: TokenUsage = {
  inputTokens: NaN,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
}

function totalOf(bill: Bill): TokenUsage {
  const total = (key: keyof TokenUsage): number => bill.get(key) ?? 0
  return {
    inputTokens: total('inputTokens'),
    cachedInputTokens: total('cachedInputTokens'),
    outputTokens: total('outputTokens'),
    reasoningTokens: total('reasoningTokens'),
  }
}
