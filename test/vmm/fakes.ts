import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import {
  type IoasidCore,
  type IoasidSet,
  ioasidAlloc,
  ioasidFree,
  ioasidSetAlloc,
  ioasidSetFree,
} from '../../src/ioasid/index.js';
import type { Process, Vfio, VfioContainer } from '../../src/kernel/index.js';
import { VFIO_PASID_REQUEST } from '../../src/spec/index.js';

class FakeContainer implements VfioContainer {
  readonly set: IoasidSet;
  constructor(set: IoasidSet) {
    this.set = set;
  }
  *addDevice(): Task<undefined> {}
  info = (): Uint8Array => new Uint8Array(0);
  *mapDma(): Task<undefined> {}
  *unmapDma(): Task<undefined> {}
  pasidRequest(argument: Uint8Array): number | Refusal {
    const words = new Int32Array(argument.buffer, argument.byteOffset, argument.length / 4);
    const { MIN, MAX, ALLOC } = VFIO_PASID_REQUEST;
    if (ALLOC.get(words, 0) === 1) return ioasidAlloc(this.set, MIN.get(words, 0), MAX.get(words, 0));
    const freed = ioasidFree(this.set, MIN.get(words, 0));
    return isRefusal(freed) ? freed : 0;
  }
  *bindGpasid(): Task<undefined> {}
  *unbindGpasid(): Task<undefined> {}
  *invalidate(): Task<undefined> {}
  *pageResponse(): Task<undefined> {}
  onFault(): void {}
  *close(): Task {
    yield 'close';
    ioasidSetFree(this.set);
  }
}

export class FakeVfio implements Vfio {
  readonly #ioasids: IoasidCore;
  constructor(ioasids: IoasidCore) {
    this.#ioasids = ioasids;
  }
  open(process: Process): VfioContainer | Refusal {
    const set = ioasidSetAlloc(this.#ioasids, { type: 'mm', token: process.mm, quota: 64 });
    return isRefusal(set) ? set : new FakeContainer(set);
  }
}
