import { createServer } from 'node:net'

const attempts = 50
const lowest = 20_000
const span = 10_000

/** A free port whose successor is free as well: some proxies listen on two. */
export async function freePortPair(): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const port = lowest + Math.floor(Math.random() * span)
    if ((await isFree(port)) && (await isFree(port + 1))) return port
  }
  throw new Error('no free ports')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
