/** For engines that make one answer to a request whatever `n` says: more is refused, so that nobody waits for choices that never come. */
import { Fault } from '../../platform/fault.ts'
import type { ChatTask, CompletionTask } from '../engine.ts'
import type { TaskDialect } from './connection.ts'

export function singleChoice<Task extends ChatTask | CompletionTask>(
  dialect: TaskDialect<Task>,
): TaskDialect<Task> {
  return {
    ...dialect,
    render(request, traits) {
      const { n } = request.task.body
      if (typeof n === 'number' && n > 1) throw oneOnly()
      return dialect.render(request, traits)
    },
  }
}

function oneOnly(): Fault {
  return new Fault({
    code: 'catalog.capability_missing',
    public:
      'The model server of this model makes one choice to a request. Leave out n, or ask several times.',
    param: 'n',
  })
}
