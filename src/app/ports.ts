/** Ports are looked at before anything is started: a message is better than a role that does not come up. */
import { createServer, type AddressInfo } from 'node:net'
import { assert } from '../platform/assert.ts'
import { Fault } from '../platform/fault.ts'
import type { Config } from './config.ts'

/** Returns the ports to use, with a free one for each 0. Throws a fault that names the port and the flag when one is taken. */
export async function choosePorts(
  config: Config,
): Promise<{ readonly gateway: number; readonly control: number }> {
  const gateway = await tryPort(config.gateway, { what: 'the API', flag: '--port' })
  const control = await tryPort(config.control, { what: 'the control API', flag: '--control-port' })
  return { gateway, control }
}

function tryPort(
  { host, port }: { readonly host: string; readonly port: number },
  { what, flag }: { readonly what: string; readonly flag: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE'
          ? 'is taken by another program'
          : error.code === 'EACCES'
            ? 'is not allowed for this user'
            : `cannot be used on ${host} (${error.code ?? 'unknown'})`
      const next = port < 1024 ? 8080 : Math.min(port + 10, 65_535)
      reject(
        new Fault({
          code: 'client.conflict',
          public: `Port ${port} for ${what} ${reason}. Choose another one, such as: ${flag} ${next}`,
          cause: error,
        }),
      )
    })
    server.listen({ host, port, exclusive: true }, () => {
      // Listening on TCP, so the address is not a path.
      const { port: found } = server.address() as AddressInfo
      assert(found > 0, 'a listening server has a port')
      server.close(() => resolve(found))
    })
  })
}
