/** The laws must be able to fail: each is shown a bad example, and its good twin. */
import { expect, test } from 'vitest'
import { parseSource } from './source-file.ts'
import {
  banViolations,
  importCycles,
  nameViolations,
  purityViolations,
  unregistered,
  wallViolations,
} from './walls.ts'

test.each([
  { from: 'src/gateway/pipeline.ts', line: "import { a } from '../control/control.ts'", bad: true },
  {
    from: 'src/control/control.ts',
    line: "import type { A } from '../gateway/work.ts'",
    bad: true,
  },
  { from: 'src/gateway/pipeline.ts', line: "import { a } from '../billing/store.ts'", bad: true },
  {
    from: 'src/gateway/pipeline.ts',
    line: "import { a } from '../billing/journal/segment.ts'",
    bad: true,
  },
  {
    from: 'src/gateway/pipeline.ts',
    line: "import { a } from '../billing/billing.ts'",
    bad: false,
  },
  {
    from: 'src/gateway/pipeline.ts',
    line: "import { a } from '../identity/key-directory.ts'",
    bad: false,
  },
  {
    from: 'src/gateway/pipeline.ts',
    line: "import { a } from '../engines/adapters/x.ts'",
    bad: true,
  },
  {
    from: 'src/gateway/pipeline.ts',
    line: "import type { A } from '../engines/engine.ts'",
    bad: false,
  },
  { from: 'src/gateway/pipeline.ts', line: "import { a } from '../app/config.ts'", bad: true },
  { from: 'src/gateway/pipeline.ts', line: "import { a } from '../../test/x.ts'", bad: true },
  {
    from: 'src/billing/billing.ts',
    line: "import { a } from '../identity/identity.ts'",
    bad: true,
  },
  {
    from: 'src/billing/billing.ts',
    line: "import type { A } from '../identity/principal.ts'",
    bad: false,
  },
  {
    from: 'src/identity/identity.ts',
    line: "import type { A } from '../billing/usage.ts'",
    bad: true,
  },
  { from: 'src/billing/billing.ts', line: "import { a } from '../gateway/work.ts'", bad: true },
  {
    from: 'src/billing/usage.ts',
    line: "import type { A } from '../engines/engine.ts'",
    bad: false,
  },
  { from: 'src/billing/usage.ts', line: "import { a } from '../engines/engine.ts'", bad: true },
  { from: 'src/platform/log.ts', line: "import type { A } from '../billing/usage.ts'", bad: true },
  { from: 'src/engines/adapters/a.ts', line: "import { b } from './b.ts'", bad: true },
  {
    from: 'src/engines/adapters/a.ts',
    line: "import { b } from '../protocol/openai.ts'",
    bad: false,
  },
  {
    from: 'src/engines/adapters/a.ts',
    line: "import { b } from '../../fleet/fleet.ts'",
    bad: true,
  },
  {
    from: 'src/control/endpoints/agent/report.ts',
    line: "import { a } from '../../../agent/protocol.ts'",
    bad: false,
  },
  {
    from: 'src/control/endpoints/agent/report.ts',
    line: "import { a } from '../../../agent/agent.ts'",
    bad: true,
  },
  { from: 'src/app/wire.ts', line: "import { a } from '../billing/billing.ts'", bad: false },
  { from: 'src/app/wire.ts', line: "import { a } from '../billing/store.ts'", bad: true },
  { from: 'src/app/wire.ts', line: "import { a } from '../cli/cli.ts'", bad: true },
])('walls: $from with $line', ({ from, line, bad }) => {
  expect(wallViolations([parseSource(from, `${line}\n`)])).toHaveLength(bad ? 1 : 0)
})

test.each([
  { from: 'src/billing/rating.ts', line: "import { readFile } from 'node:fs/promises'", bad: true },
  { from: 'src/billing/rating.ts', line: "import pg from 'pg'", bad: true },
  { from: 'src/billing/rating.ts', line: "import { a } from './store.ts'", bad: true },
  { from: 'src/billing/rating.ts', line: "import { a } from '../platform/clock.ts'", bad: true },
  { from: 'src/billing/rating.ts', line: "import type { A } from './store.ts'", bad: false },
  {
    from: 'src/billing/rating.ts',
    line: "import { assert } from '../platform/assert.ts'",
    bad: false,
  },
  { from: 'src/billing/rating.ts', line: "import { createHash } from 'node:crypto'", bad: false },
  { from: 'src/billing/store.ts', line: "import { sql } from 'kysely'", bad: false },
  {
    from: 'src/billing/journal/segment.ts',
    line: "import { open } from 'node:fs/promises'",
    bad: false,
  },
])('purity: $from with $line', ({ from, line, bad }) => {
  expect(purityViolations([parseSource(from, `${line}\n`)])).toHaveLength(bad ? 1 : 0)
})

test.each([
  { path: 'src/gateway/a.ts', code: 'const a = process.env.HOME', bad: true },
  { path: 'src/app/config.ts', code: 'const a = process.env.HOME', bad: false },
  { path: 'src/billing/rating.ts', code: 'const a = Date.now()', bad: true },
  { path: 'src/billing/rating.ts', code: 'const a = new Date()', bad: true },
  { path: 'src/billing/rating.ts', code: 'const a = new Date(b)', bad: false },
  { path: 'src/billing/rating.ts', code: 'setTimeout(a, 1)', bad: true },
  { path: 'src/gateway/a.ts', code: 'setTimeout(a, 1)', bad: false },
  { path: 'src/gateway/a.ts', code: 'const a = Math.random()', bad: true },
  { path: 'src/gateway/a.ts', code: 'await fetch(url)', bad: true },
  { path: 'src/gateway/a.ts', code: 'await client.fetch(url)', bad: false },
  { path: 'src/gateway/a.ts', code: 'const a = fetch(url)', bad: true },
  { path: 'src/weights/a.ts', code: '  fetch(url: string): Promise<void>', bad: false },
  { path: 'src/gateway/a.ts', code: "console.log('x')", bad: true },
  { path: 'src/gateway/a.ts', code: '// console.log', bad: false },
  { path: 'src/cli/a.ts', code: 'process.stdout.write(a)', bad: false },
  { path: 'src/control/a.ts', code: 'process.stdout.write(a)', bad: true },
])('bans: $path with $code', ({ path, code, bad }) => {
  expect(banViolations([parseSource(path, `${code}\n`)])).toHaveLength(bad ? 1 : 0)
})

test.each([
  { path: 'src/gateway/utils/a.ts', code: '', bad: true },
  { path: 'src/gateway/index.ts', code: '', bad: true },
  { path: 'src/gateway/someThing.ts', code: '', bad: true },
  { path: 'src/gateway/a.ts', code: 'export class KeyManager {}', bad: true },
  { path: 'src/gateway/key-directory.ts', code: 'export interface KeyDirectory {}', bad: false },
  { path: 'src/x/a.integration.test.ts', code: '', bad: false },
])('names: $path with $code', ({ path, code, bad }) => {
  expect(nameViolations([parseSource(path, `${code}\n`)])).toHaveLength(bad ? 1 : 0)
})

test('a cycle is found, also through types and three files', () => {
  const files = [
    parseSource('src/x/a.ts', "import { b } from './b.ts'\n"),
    parseSource('src/x/b.ts', "import type { C } from './c.ts'\n"),
    parseSource('src/x/c.ts', "export { a } from './a.ts'\n"),
  ]
  expect(importCycles(files)).toEqual([['src/x/a.ts', 'src/x/b.ts', 'src/x/c.ts']])
  expect(importCycles(files.slice(0, 2))).toEqual([])
})

test('a file that its list does not import is named', () => {
  const files = [
    parseSource('src/engines/registry.ts', "import { a } from './adapters/a.ts'\n"),
    parseSource('src/engines/adapters/a.ts', ''),
    parseSource('src/engines/adapters/b.ts', ''),
  ]
  expect(unregistered(files, 'src/engines/adapters/', 'src/engines/registry.ts')).toEqual([
    'src/engines/adapters/b.ts is not in src/engines/registry.ts',
  ])
})
