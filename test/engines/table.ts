/** The results as a table for people, kept between two marks of a page. Pure. */
import type { Outcome, Row } from './engine.ts'

const beginMark = '<!-- written by npm run test:engines -->'
const endMark = '<!-- end of what was written -->'

const signs: Readonly<Record<Outcome['state'], string>> = {
  yes: 'yes',
  no: '–',
  failed: '**failed**',
}

/** Engines are columns: they are fewer than what is asked of them. */
export function renderTable(rows: readonly Row[], checks: readonly string[], date: string): string {
  const notes: string[] = []
  const lines = checks.map((check) => {
    const cells = rows.map(({ engine, outcomes }) => {
      const outcome = outcomes[check]
      if (outcome === undefined) return ''
      if (outcome.note === undefined) return signs[outcome.state]
      notes.push(`${engine}, ${check}: ${outcome.note.replaceAll(/\s+/g, ' ')}.`)
      return `${signs[outcome.state]} (${notes.length})`
    })
    return line([check, ...cells])
  })
  return [
    `Run on ${date}. \`–\` is what an engine does not do; an empty cell was not asked, for want of a model.`,
    '',
    line(['', ...rows.map(({ engine }) => engine)]),
    line(['---', ...rows.map(() => '---')]),
    line(['version', ...rows.map(({ version }) => version)]),
    ...lines,
    ...(notes.length === 0 ? [] : ['', ...notes.map((note, index) => `${index + 1}. ${note}`)]),
  ].join('\n')
}

function line(cells: readonly string[]): string {
  const safe = cells.map((cell) => cell.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|'))
  return `| ${safe.join(' | ')} |`
}

/** Puts the table between the page's marks; a page without them gets them at its end. */
export function placeTable(page: string, table: string): string {
  const written = `${beginMark}\n\n${table}\n\n${endMark}`
  const from = page.indexOf(beginMark)
  const until = page.indexOf(endMark)
  if (from === -1 || until < from) return `${page.trimEnd()}\n\n${written}\n`
  return page.slice(0, from) + written + page.slice(until + endMark.length)
}
