/** What engines send, for the dialect that reads it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { AdapterFixtures, Fixture } from '../../../src/engines/conformance/fixture.ts'
import type { EngineTask, TaskKind } from '../../../src/engines/engine.ts'
import { anthropicMessages } from '../../../src/engines/protocol/anthropic/messages.ts'
import { bedrockConverse } from '../../../src/engines/protocol/bedrock/converse.ts'
import type { TaskDialect } from '../../../src/engines/protocol/connection.ts'
import { geminiContent } from '../../../src/engines/protocol/gemini/content.ts'
import { openAiChat } from '../../../src/engines/protocol/openai/chat.ts'
import { openAiCompletion } from '../../../src/engines/protocol/openai/completion.ts'
import { openAiEmbedding } from '../../../src/engines/protocol/openai/embedding.ts'
import { openAiImage } from '../../../src/engines/protocol/openai/image.ts'
import { openAiModeration } from '../../../src/engines/protocol/openai/moderation.ts'
import { openAiSpeech } from '../../../src/engines/protocol/openai/speech.ts'
import { openAiTranscription } from '../../../src/engines/protocol/openai/transcription.ts'
import { cohereRerank } from '../../../src/engines/protocol/rerank/cohere.ts'
import { jinaRerank } from '../../../src/engines/protocol/rerank/jina.ts'
import { teiRerank } from '../../../src/engines/protocol/rerank/tei.ts'
import { teiEmbedding } from '../../../src/engines/protocol/tei/embedding.ts'
import { below } from '../../chaos/random.ts'
import { inPieces, mutateBytes } from '../mutate.ts'
import { checkRefusal } from '../proper.ts'
import type { Target } from '../target.ts'

type Dialects = Partial<Record<TaskKind, readonly unknown[]>>

const openAi: Dialects = {
  chat: [openAiChat],
  completion: [openAiCompletion],
  embedding: [openAiEmbedding],
  rerank: [jinaRerank, cohereRerank],
  moderation: [openAiModeration],
  transcription: [openAiTranscription],
  speech: [openAiSpeech],
  image: [openAiImage],
}
/** By the kind of the adapter whose fixtures these are; the others speak OpenAI's dialect. */
const others: Readonly<Record<string, Dialects>> = {
  anthropic: { chat: [anthropicMessages({ thinking: 'budget', outputTokensDefault: 100 })] },
  bedrock: { chat: [bedrockConverse({ thinking: 'budget' })] },
  vertex: { chat: [geminiContent({ modelPath: (model) => model, thinking: 'budget' })] },
  gemini: { chat: [geminiContent({ modelPath: (model) => model, thinking: 'budget' })] },
  tei: { embedding: [teiEmbedding], rerank: [teiRerank] },
}

const folder = join(import.meta.dirname, '../../../src/engines/conformance/fixtures')
/** No answer of a few kilobytes is so many parts. */
const partsMax = 100_000

export async function answersTarget(): Promise<Target> {
  const seeds: {
    readonly dialect: TaskDialect<EngineTask>
    readonly fixture: Fixture
    readonly bytes: Buffer
  }[] = []
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
    const module = (await import(join(folder, file))) as { readonly fixtures: AdapterFixtures }
    const dialects = others[file.replace('.ts', '')] ?? openAi
    for (const fixture of module.fixtures.fixtures) {
      if ((fixture.answer.status ?? 200) !== 200) continue
      const bytes = Buffer.concat(fixture.answer.events.map((event) => Buffer.from(event)))
      for (const dialect of dialects[fixture.request.task.kind] ?? [])
        // The list above pairs each kind of task with dialects of that kind.
        seeds.push({ dialect: dialect as TaskDialect<EngineTask>, fixture, bytes })
    }
  }
  return {
    name: 'answers',
    prepare(random) {
      const { dialect, fixture, bytes } = seeds[below(random, seeds.length)] ?? {}
      if (!dialect || !fixture || !bytes) throw new Error('no fixture to start from')
      const mutated = below(random, 4) === 0 ? bytes : mutateBytes(random, bytes)
      const mediaType = fixture.answer.contentType.split(';')[0] ?? ''
      const cut = inPieces(random, mutated)
      return async () => {
        try {
          const headers = fixture.answer.headers ?? {}
          const answer = dialect.read({ mediaType, headers, body: pieces(cut) }, fixture.request)
          let parts = 0
          for await (const part of answer) {
            parts += 1
            if (part.type === 'end') break
            if (parts > partsMax) throw new Error('parts without end')
          }
        } catch (error) {
          checkRefusal(error)
        }
      }
    },
  }
}

async function* pieces(buffers: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* buffers
}
