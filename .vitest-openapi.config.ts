import { defineConfig } from 'vitest/config'
export default defineConfig({ root: '/work/main', test: { unstubEnvs: true, projects: [ { test: { name: 'integration', include: ['{src,test,sim,bench}/**/*.integration.test.ts'], setupFiles: ['/work/main/test/openapi/judge-all.ts'], fileParallelism: false, testTimeout: 30000, hookTimeout: 120000 } } ] } })
