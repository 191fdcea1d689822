/** A text as a QR code for a terminal. The only importer of the package that draws it. */
import { renderUnicodeCompact } from 'uqr'

export function qrCode(text: string): string {
  return renderUnicodeCompact(text, { border: 2 })
}
