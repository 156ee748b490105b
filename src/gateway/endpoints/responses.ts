/** `POST /v1/responses`, and the same over a WebSocket: one request after another on one connection. To everything behind it, each is a chat. */
import { Fault, toFault } from '../../platform/fault.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import type { StreamPart } from '../../engines/engine.ts'
import { defineEndpoint, type Answer, type BodyContext } from '../endpoint.ts'
import { responsesDoc, responsesSocketDoc } from '../openapi/operations/responses.ts'
import { perform } from '../pipeline.ts'
import { answerMessage } from '../sockets/message.ts'
import type { SocketRoute } from '../sockets/socket-route.ts'
import { streamAnswer } from '../stages/respond.ts'
import { keepAliveComment } from '../wire/openai/chat-stream.ts'
import { takeUnknownFields } from '../wire/openai/field-policy.ts'
import { renameParam, toChatBody, wantsLogprobs } from '../wire/responses/chat-body.ts'
import {
  alreadyInFlight,
  notCreate,
  responsesErrors,
  sessionTooLong,
  toSocketError,
} from '../wire/responses/errors.ts'
import {
  parseResponseRequest,
  responseFieldNames,
  type ResponseRequest,
} from '../wire/responses/request.ts'
import {
  createResponseWriter,
  type ResponseEvent,
  type ResponseWriter,
} from '../wire/responses/response-writer.ts'
import type { WireResponse } from '../wire/responses/response-object.ts'
import { sealReasoning } from '../wire/responses/sealed-reasoning.ts'
import type { Work } from '../work.ts'
import { toChatWork } from './chat-completions.ts'

const path = '/v1/responses'
/** A whole answer is held in memory until its end. */
const answerCharactersMax = 16 * 1024 * 1024

interface ResponseWork extends Work {
  readonly request: ResponseRequest
  /** `undefined` for clients that do not carry reasoning themselves. */
  readonly sealReasoning: ((text: string) => string) | undefined
  /** `undefined` for responses that are not kept. */
  readonly keep: ((response: WireResponse) => Promise<void>) | undefined
}

export const responses = defineEndpoint<ResponseWork>({
  path,
  errors: responsesErrors,
  doc: responsesDoc,
  parse: (bytes, context) => toResponseWork(parseBoundedJson(bytes), context),
  respond: (answer) => (answer.work.streamed ? respondWithStream(answer) : respondWhole(answer)),
})

async function toResponseWork(value: unknown, context: BodyContext): Promise<ResponseWork> {
  const memory = context.memory()
  const request = parseResponseRequest(value, memory !== undefined)
  const { fieldPolicy } = context
  const extras = takeUnknownFields(value, responseFieldNames, fieldPolicy)
  const earlier = (await memory?.recall(request)) ?? []
  const { body, toParam } = toChatBody(request, context.seal, earlier)
  const chat = inWordsOf(toParam, () => toChatWork({ ...extras, ...body }, fieldPolicy))
  return {
    ...chat,
    endpoint: path,
    needs: chat.needs?.map((need) => ({ ...need, param: toParam(need.param) })),
    request,
    sealReasoning: request.include?.includes('reasoning.encrypted_content')
      ? (text) => sealReasoning(text, context.seal())
      : undefined,
    keep:
      memory && request.store === true ? (response) => memory.keep(request, response) : undefined,
  }
}

/** The refusals of a chat, for a client that wrote none. */
function inWordsOf<Result>(toParam: (param: string) => string, parse: () => Result): Result {
  try {
    return parse()
  } catch (error) {
    throw error instanceof Fault ? renameParam(error, toParam) : error
  }
}

function createWriter(answer: Answer<ResponseWork>): ResponseWriter {
  const { exchange, work, model, receipt, deps } = answer
  const { request } = work
  const nowSeconds = (): number => Math.floor(deps.clock.nowMs() / 1_000)
  const summary = request.reasoning?.summary ?? request.reasoning?.generate_summary
  const customTools = request.tools.filter((tool) => tool.type === 'custom')
  return createResponseWriter({
    id: `resp_${exchange.requestId.replace(/^req_/, '')}`,
    createdSeconds: nowSeconds(),
    model: model.model.id,
    request,
    customTools: new Set(customTools.map((tool) => tool.name)),
    wantsLogprobs: wantsLogprobs(request),
    reasoningAs: summary ? 'summary' : 'content',
    sealReasoning: work.sealReasoning,
    nowSeconds,
    receipt,
  })
}

/** What is to be kept is kept before anybody hears of the end. When that fails, the answer fails: a client counts on what it was told is stored. */
async function* partsOnceKept(
  { parts, work }: Answer<ResponseWork>,
  writer: ResponseWriter,
): AsyncGenerator<StreamPart> {
  for await (const part of parts) {
    if (part.type === 'end') await work.keep?.(writer.conclude())
    yield part
  }
}

function partsOf(answer: Answer<ResponseWork>, writer: ResponseWriter): AsyncIterable<StreamPart> {
  return answer.work.keep ? partsOnceKept(answer, writer) : answer.parts
}

async function respondWithStream(answer: Answer<ResponseWork>): Promise<void> {
  const writer = createWriter(answer)
  await streamAnswer({
    exchange: answer.exchange,
    parts: partsOf(answer, writer),
    encode: (part) => toEventStream(writer.accept(part)),
    keepAlive: keepAliveComment,
    errors: { ...responsesErrors, event: (fault) => toEventStream(writer.fail(fault)) },
    clock: answer.deps.clock,
  })
}

function toEventStream(events: readonly ResponseEvent[]): string {
  let text = ''
  for (const event of events) text += `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
  return text
}

async function respondWhole(answer: Answer<ResponseWork>): Promise<void> {
  const { exchange } = answer
  const writer = createWriter(answer)
  let characters = 0
  for await (const part of partsOf(answer, writer)) {
    if ('text' in part) characters += part.text.length
    if ('arguments' in part) characters += part.arguments.length
    if (characters > answerCharactersMax) throw tooLarge()
    writer.accept(part)
  }
  await exchange.send(
    200,
    { 'content-type': 'application/json' },
    JSON.stringify(writer.response()),
  )
}

/** On a socket there is nothing but streams, and each event is a message. */
const overSocket = defineEndpoint<ResponseWork>({
  path,
  errors: responsesErrors,
  async parse(bytes, context) {
    const value = parseBoundedJson(bytes)
    if (!isCreate(value)) throw notCreate()
    return { ...(await toResponseWork(value, context)), streamed: true }
  },
  respond: respondWithMessages,
})

async function respondWithMessages(answer: Answer<ResponseWork>): Promise<void> {
  const { exchange } = answer
  const writer = createWriter(answer)
  const send = async (events: readonly ResponseEvent[]): Promise<void> => {
    for (const event of events) {
      const room = exchange.write(JSON.stringify(event))
      if (room) await room
    }
  }
  try {
    for await (const part of partsOf(answer, writer)) {
      await send(writer.accept(part))
      if (exchange.signal.aborted) throw gone()
    }
  } catch (error) {
    if (exchange.streamStarted) await send(writer.fail(toFault(error)))
    throw error
  } finally {
    exchange.endStream()
  }
}

function isCreate(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'response.create'
  )
}

export const responsesSocket: SocketRoute = {
  path,
  doc: responsesSocketDoc,
  async open(socket, deps) {
    const fail = (fault: Fault): Promise<void> | undefined => socket.send(toSocketError(fault))
    let running: Promise<void> | undefined
    let isToldAll = false
    for await (const message of socket.messages) {
      // An answer that failed is settled after its client was told.
      if (isToldAll) await running
      if (running) {
        await fail(alreadyInFlight())
        continue
      }
      const body = [Buffer.from(message)]
      isToldAll = false
      const onEnd = (): boolean => (isToldAll = true)
      running = answerMessage({ socket, path, body, fail, onEnd }, deps, (exchange) => {
        const caller = socket.identify()
        return perform({ endpoint: overSocket, exchange, caller }, deps)
      }).finally(() => (running = undefined))
    }
    await running
    if (socket.ending === 'session-limit') await fail(sessionTooLong())
  },
}

function tooLarge(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The answer is too large to be sent in one piece. Ask for a stream.',
  })
}

function gone(): Fault {
  return new Fault({ code: 'client.gone', public: 'The client closed the request.' })
}
