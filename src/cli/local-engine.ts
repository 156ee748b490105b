/** How an engine that was found on this machine is told, and how it is added. Pure. */
import type { LocalEngine } from '../app/local-engines.ts'

const modelsShownMax = 3
/** What control takes as a model's id. */
const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$/

export function describeEngine({ kind, url, models }: LocalEngine): string {
  const shown = models.slice(0, modelsShownMax).join(', ')
  const more = models.length > modelsShownMax ? ` and ${models.length - modelsShownMax} more` : ''
  return `${kind} at ${url}: ${models.length === 0 ? 'no model yet' : shown + more}`
}

/** What follows `engine add`. A single model called by its file gets the file's name, because a path is no id. */
export function addArguments(engine: LocalEngine): string {
  const name = nameFor(engine)
  return name === undefined ? engine.url : `${engine.url} --name ${name}`
}

/** The id for an engine's one model; `undefined` where its own name will do, or there are several. */
export function nameFor({ models }: Pick<LocalEngine, 'models'>): string | undefined {
  const [model = ''] = models
  if (models.length !== 1 || idPattern.test(model)) return undefined
  const file = model.split(/[\\/]/).at(-1) ?? ''
  const name = file.replace(/\.gguf$/i, '').replaceAll(/[^A-Za-z0-9._:@+-]+/g, '-')
  return name.replace(/^[^A-Za-z0-9]+/, '').slice(0, 200) || 'local-model'
}
