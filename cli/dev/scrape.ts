/** What a program of the cluster measures, read from its admin socket. Apart, because Node's HTTP takes a while to load. */
import { request } from 'node:http'
import { NearcastError } from '../../lib/errors.ts'

/** `id`: for the error. @throws NearcastError dev.failed */
export function scrape(socketPath: string, id: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(new NearcastError('dev.failed', `${id} doesn't answer: ${error.message}; see "nearcast dev status".`))
    const asked = request({ socketPath, path: '/metrics', timeout: 5000 }, (response) => {
      let text = ''
      response.on('data', (data: Buffer) => (text += data.toString()))
      response.on('end', () => resolve(text))
      response.on('error', failed)
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', failed)
    asked.end()
  })
}
