/** What the run found, as the page that people read. Pure. */
export interface CheckLine {
  readonly check: string
  readonly outcome: 'passed' | 'failed'
  readonly detail: string
}

export interface ClientResult {
  readonly name: string
  readonly language: string
  /** `undefined` when the client did not get so far as to say it. */
  readonly version: string | undefined
  readonly checks: readonly CheckLine[]
  /** Why the program ended before its checks did; `undefined` when it ran to its end. */
  readonly broken: string | undefined
}

export function isGreen(result: ClientResult): boolean {
  return (
    result.broken === undefined &&
    result.checks.length > 0 &&
    result.checks.every((check) => check.outcome === 'passed')
  )
}

export function renderPage(
  results: readonly ClientResult[],
  facts: { readonly date: string; readonly version: string; readonly machine: string },
): string {
  const rows = results.map((result) => {
    const passed = result.checks.filter((check) => check.outcome === 'passed')
    const failed = result.checks.filter((check) => check.outcome === 'failed')
    const cells = [
      result.name,
      result.language,
      result.version ?? '–',
      isGreen(result) ? '✓' : '✗',
      passed.map((check) => check.check).join('; ') || '–',
      [
        ...failed.map((check) => check.check),
        ...(result.broken ? ['did not run to its end'] : []),
      ].join('; ') || '–',
    ]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  const green = results.filter(isGreen).length
  return [
    '# Clients',
    '',
    'Real clients, unmodified but for the base URL and the key, against a running Colonnade with its own engine and default models. Written by',
    `\`npm run test:clients\` on ${facts.date}: Colonnade ${facts.version}, ${facts.machine}. **${green} of ${results.length} are green.**`,
    '',
    '| Client | Language | Version | | What held | What did not |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    'The programs are in `test/clients`; each is short enough to be read as an example.',
    '',
  ].join('\n')
}
