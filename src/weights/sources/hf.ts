/** `hf:` names a file of a repository on the Hugging Face hub, or on a mirror that speaks like it. */
import { join } from 'node:path'
import { download } from '../client.ts'
import type { FetchedFile, WeightSource } from '../contract.ts'
import { besidePath, hubUrl, parseHubSource } from '../source.ts'

export const hubSource: WeightSource = {
  schemes: ['hf'],
  async fetch({ source, companions, directory, settings, ...request }) {
    const named = parseHubSource(source)
    const paths = [named.path, ...companions.map((name) => besidePath(named.path, name))]
    const files: FetchedFile[] = []
    for (const [index, path] of paths.entries()) {
      const target = join(directory, `${index}.part`)
      await download({
        ...request,
        settings,
        url: hubUrl(settings.hubEndpoint, { ...named, path }),
        token: settings.hubToken,
        path: target,
      })
      files.push({ path: target, isTheUsers: false })
    }
    return files
  },
}
