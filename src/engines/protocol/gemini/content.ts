/** Google's `generateContent` as a dialect of chat. */
import type { ChatTask, EngineRequest } from '../../engine.ts'
import { invalid } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { numberOf } from '../vendor/request-fields.ts'
import { renderContents, type ThinkingStyle } from './content-request.ts'
import { readContentStream } from './content-stream.ts'

export function geminiContent(options: {
  /** Of the model, up to the verb: `/v1beta/models/gemini-3-flash`. */
  readonly modelPath: (model: string) => string
  readonly thinking: ThinkingStyle
}): TaskDialect<ChatTask> {
  return {
    path: ({ model }: EngineRequest<ChatTask>) =>
      `${options.modelPath(model)}:streamGenerateContent?alt=sse`,
    render: ({ task }) => ({ json: renderContents(task, options) }),
    read({ mediaType, body }, { task }) {
      if (mediaType !== 'text/event-stream')
        throw invalid('the engine did not answer with a stream')
      return readContentStream(body, numberOf(task.body, 'n') ?? 1)
    },
  }
}
