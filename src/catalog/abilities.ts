/** What a model can be asked to do: by its category, and by capabilities where a category has several. Pure. */
import type { TaskKind } from '../engines/engine.ts'
import type { CatalogModel, ModelCategory } from './catalogue.ts'

/** The first task of a category is what a model does that names none. */
const tasksOfCategory: Readonly<Record<ModelCategory, readonly [TaskKind, ...TaskKind[]]>> = {
  chat: ['chat', 'completion'],
  embedding: ['embedding'],
  rerank: ['rerank'],
  audio: ['transcription', 'speech'],
  image: ['image'],
  moderation: ['moderation', 'chat'],
}

/** Categories whose models do one of their tasks, and say so by a capability of the task's name. */
const oneOfSeveral: ReadonlySet<ModelCategory> = new Set(['audio'])

export function canDo(
  model: Pick<CatalogModel, 'category' | 'capabilities'>,
  kind: TaskKind,
): boolean {
  return tasksOf(model).includes(kind)
}

export function tasksOf(
  model: Pick<CatalogModel, 'category' | 'capabilities'>,
): readonly TaskKind[] {
  const tasks = tasksOfCategory[model.category]
  if (!oneOfSeveral.has(model.category)) return tasks
  const named = tasks.filter((task) => model.capabilities.includes(task))
  return named.length > 0 ? named : [tasks[0]]
}
