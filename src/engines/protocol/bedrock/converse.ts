/** Bedrock's `ConverseStream` as a dialect of chat. */
import type { ChatTask } from '../../engine.ts'
import { invalid } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { renderConverse, type ConverseOptions } from './converse-request.ts'
import { readConverseStream } from './converse-stream.ts'

export function bedrockConverse(options: ConverseOptions): TaskDialect<ChatTask> {
  return {
    // Names hold colons, and those of profiles slashes.
    path: ({ model }) => `/model/${encodeURIComponent(model)}/converse-stream`,
    render: ({ task }) => ({ json: renderConverse(task, options) }),
    read({ mediaType, body }) {
      if (mediaType !== 'application/vnd.amazon.eventstream') {
        throw invalid('the engine did not answer with a stream')
      }
      return readConverseStream(body)
    },
  }
}
