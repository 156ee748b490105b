/** How long a gateway takes to authenticate a key, with 100,000 keys in memory: `node bench/authenticate.ts`. */
import { createSecret, digestSecret } from '../src/identity/api-key.ts'
import { createKeyDirectory } from '../src/identity/key-directory.ts'
import { createKeyRecords } from '../src/identity/key-records.ts'

const keyCount = 100_000
const tenantCount = 10_000
const rounds = 5
const callsPerRound = 200_000

const pepper = Buffer.alloc(32, 1)
const secrets = Array.from({ length: keyCount }, () => createSecret('k', 'live'))
const facts = { currency: 'EUR', priceListId: 'standard', active: true }
const tenants = Array.from({ length: tenantCount }, (_, index) => ({
  ...facts,
  id: `ten_${index}`,
}))
const records = createKeyRecords({
  tenants,
  projects: tenants.map((_, index) => ({ id: `prj_${index}`, active: true })),
  keys: secrets.map(({ secret, publicId }, index) => ({
    publicId,
    digest: digestSecret(pepper, secret).toString('base64'),
    pepperVersion: 1,
    apiKeyId: `key_${index}`,
    tenantId: `ten_${index % tenantCount}`,
    projectId: `prj_${index % tenantCount}`,
    revoked: false,
  })),
})
const directory = createKeyDirectory(records, new Map([[1, pepper]]))

for (let round = 1; round <= rounds; round += 1) {
  const startMs = performance.now()
  let accepted = 0
  for (let call = 0; call < callsPerRound; call += 1) {
    // A stride that visits the keys in no order that a cache likes.
    const secret = secrets[(call * 7_919) % keyCount]?.secret ?? ''
    const { outcome } = directory.authenticate({ secret, ip: '192.0.2.1', nowMs: 1 })
    if (outcome === 'accepted') accepted += 1
  }
  const micros = ((performance.now() - startMs) * 1_000) / callsPerRound
  if (accepted !== callsPerRound) throw new Error(`${callsPerRound - accepted} were refused`)
  process.stdout.write(`round ${round}: ${micros.toFixed(2)} µs each\n`)
}
