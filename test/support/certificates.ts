/** A throw-away CA and identities signed by it, made with the openssl program. PEM texts; the files go with `dir`. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { HopTls } from '../../lib/plane/plane.ts'

export interface TestCa {
  /** `uri`: `nearcast://agent/gru-1`. Several make a certificate that must name nobody. */
  issue(...uris: string[]): HopTls
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}

function read(path: string): string {
  return readFileSync(path, 'utf8')
}

export function createTestCa(dir: string, name = 'ca'): TestCa {
  const file = (suffix: string): string => join(dir, `${name}${suffix}`)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...newKey, '-keyout', file('.key'), '-out', file('.pem'), '-days', '2', '-subj', `/CN=${name}`)
  let serial = 0
  return {
    issue(...uris) {
      const leaf = (suffix: string): string => file(`-${serial}${suffix}`)
      serial++
      writeFileSync(leaf('.ext'), `subjectAltName=${uris.map((uri) => `URI:${uri}`).join(',')}\n`)
      openssl('req', ...newKey, '-keyout', leaf('.key'), '-out', leaf('.csr'), '-subj', '/CN=leaf')
      const signer = ['-CA', file('.pem'), '-CAkey', file('.key'), '-set_serial', String(1000 + serial), '-days', '2']
      openssl('x509', '-req', '-in', leaf('.csr'), ...signer, '-out', leaf('.pem'), '-extfile', leaf('.ext'))
      return { ca: read(file('.pem')), certificate: read(leaf('.pem')), key: read(leaf('.key')) }
    },
  }
}
