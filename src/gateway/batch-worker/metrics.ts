/** What the batch worker of a gateway does, for Prometheus. */
import { Counter, Gauge, Registry } from 'prom-client'

export type LineOutcome = 'completed' | 'failed' | 'put_back' | 'lost'

export interface BatchMetrics {
  lineEnded(outcome: LineOutcome): void
  waiting(lines: number): void
  render(): Promise<string>
}

export function createBatchMetrics(running: () => number): BatchMetrics {
  const registry = new Registry()
  const registers = [registry]
  const lines = new Counter({
    name: 'colonnade_batch_lines_total',
    help: 'Lines of batches that this gateway ran, by outcome.',
    labelNames: ['outcome'],
    registers,
  })
  new Gauge({
    name: 'colonnade_batch_lines_running',
    help: 'Lines of batches that this gateway runs now.',
    registers,
    collect() {
      this.set(running())
    },
  })
  const waiting = new Gauge({
    name: 'colonnade_batch_lines_waiting',
    help: 'Lines of all batches that are not done, as this gateway saw them last.',
    registers,
  })
  return {
    lineEnded: (outcome) => lines.inc({ outcome }),
    waiting: (count) => waiting.set(count),
    render: () => registry.metrics(),
  }
}
