/** Takes the item at `at` out of an array. `splice` does that too, and makes an array of what it took. */
export function takeOut(from: unknown[], at: number): void {
  for (let i = at + 1; i < from.length; i++) from[i - 1] = from[i];
  from.pop();
}
