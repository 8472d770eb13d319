/**
 * What the kernel has begun for a process it also ends, though the process is killed meanwhile: a killed task leaves
 * its system call to a task of the kernel's, which goes on where it stood.
 */
import type { Task } from '../base/index.js';
import type { KernelContext } from './context.js';

/**
 * Runs `body` to its end, by whomever.
 *
 * @param name of the task that goes on with it
 */
export function* uninterrupted<T>({ tasks }: KernelContext, name: () => string, body: Task<T>): Task<T> {
  let isOver = false;
  try {
    for (;;) {
      // What it throws has ended it.
      isOver = true;
      const result = body.next();
      if (result.done === true) return result.value;
      isOver = false;
      yield result.value;
    }
  } finally {
    if (!isOver) tasks.spawn(name(), body);
  }
}
