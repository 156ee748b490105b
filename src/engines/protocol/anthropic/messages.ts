/** Anthropic's Messages API as a dialect of chat. */
import type { ChatTask } from '../../engine.ts'
import { invalid } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { renderMessages, type MessagesOptions } from './messages-request.ts'
import { readMessageStream } from './messages-stream.ts'

export function anthropicMessages(options: MessagesOptions): TaskDialect<ChatTask> {
  return {
    path: '/v1/messages',
    render: ({ task, model }) => ({ json: renderMessages(task, model, options) }),
    read({ mediaType, body }) {
      if (mediaType !== 'text/event-stream')
        throw invalid('the engine did not answer with a stream')
      return readMessageStream(body)
    },
  }
}
