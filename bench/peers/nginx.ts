/** nginx as a plain reverse proxy: no keys, no limits, no bills. The floor. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { installPackage, startPinned, treeOf } from '../process.ts'
import { answers, type Peer, type PeerOptions } from './peer.ts'

const startTimeoutMs = 10_000

export const nginx: Peer = {
  name: 'nginx',
  streamsMax: 1_000,
  install: () => installPackage('nginx', 'nginx'),
  async start(options) {
    const file = join(options.workDirectory, 'nginx.conf')
    writeFileSync(file, configuration(options))
    const started = startPinned(
      ['nginx', '-p', options.workDirectory, '-c', file, '-e', 'stderr'],
      { core: options.cores.proxy },
    )
    const peer = {
      url: `http://127.0.0.1:${options.port}`,
      headers: {},
      model: 'mock',
      // It prints its version to standard error.
      version: spawnSync('nginx', ['-v'])
        .stderr.toString('utf8')
        .trim()
        .replace(/^.*nginx\//, ''),
      pids: () => treeOf(started.pid),
      otherPids: () => [],
      stop: started.stop,
    }
    try {
      await answers(peer, startTimeoutMs, started.output)
    } catch (error) {
      await started.stop()
      throw error
    }
    return peer
  },
}

function configuration(options: PeerOptions): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${name};`)
    .join('\n')
  return `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
${temporary}
  access_log off;
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  upstream engine {
    server ${new URL(options.mockUrl).host};
    keepalive 512;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${options.port} backlog=4096;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`
}
