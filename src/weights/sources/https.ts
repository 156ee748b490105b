/** `https:` and `http:` name a file on any server. */
import { join } from 'node:path'
import { download } from '../client.ts'
import type { FetchedFile, WeightSource } from '../contract.ts'
import { besideUrl, parseUrlSource } from '../source.ts'

export const httpsSource: WeightSource = {
  schemes: ['https', 'http'],
  async fetch({ source, companions, directory, ...request }) {
    const url = parseUrlSource(source)
    const urls = [url, ...companions.map((name) => besideUrl(url, name))]
    const files: FetchedFile[] = []
    for (const [index, from] of urls.entries()) {
      const path = join(directory, `${index}.part`)
      await download({ ...request, url: from, path })
      files.push({ path, isTheUsers: false })
    }
    return files
  },
}
