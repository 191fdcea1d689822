/** One thing that the doctor looked at. */
export interface Finding {
  /** `io_uring`, `nofile` */
  readonly id: string
  readonly group: 'kernel' | 'limits'
  readonly answer: 'yes' | 'no' | 'unknown'
  /** What was found, or why not. */
  readonly reason: string
  /** Who needs it. */
  readonly for: string
  /** Absent when there is nothing to do. */
  readonly todo?: string
}
