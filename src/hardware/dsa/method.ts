/** How an operation goes through its buffers, a piece at a time: what {@link file://./execution.ts} chooses by type. */

export interface Method {
  /** Begins with a descriptor that has passed its checks. */
  begin(): void;
  /** Places the operands of the next piece, each within one page; of no bytes, where the piece leaves one out. */
  place(): void;
  /** Does the piece, which is translated. The status that ends the operation, or NONE if there is more to do. */
  run(): number;
  /** Reports how far it came, where a page is not to be had. */
  report(): void;
}
