/** A process of a guest that has an accelerator copy its bytes, and what came of it. */
import type { Task } from '../../src/base/index.js';
import type { Process } from '../../src/kernel/index.js';
import type { Vm } from '../../src/vmm/index.js';
import { type Machine, Program } from '../native-sva/program.js';
import { value } from '../vmm/host.js';

const PAGE = 4096;
const SOURCE = 0;
const DESTINATION = 3;
const RECORD = 6;
const DESCRIPTOR = 7;

/** A virtual machine that somebody copies in. */
export type CopyingVm = Machine & Pick<Vm, 'idxd'>;

export interface Copied {
  pasid: number | undefined;
  status: number | undefined;
  bytes: Uint8Array;
  /** It has closed the queue. */
  isClosed: boolean;
}

/** Starts a process that opens the queue, copies `bytes` to where nothing is yet, and closes the queue. */
export function startCopy(
  vm: CopyingVm,
  name: string,
  bytes: Uint8Array,
): { process: Process; copied: Copied } {
  const { processes } = vm.kernel;
  const process = value(processes.spawn(name));
  const copied: Copied = { pasid: undefined, status: undefined, bytes: new Uint8Array(0), isClosed: false };
  processes.start(process.mainThread, copy(vm, process, { bytes, copied }));
  return { process, copied };
}

function* copy(
  vm: CopyingVm,
  process: Process,
  { bytes, copied }: { readonly bytes: Uint8Array; readonly copied: Copied },
): Task {
  const idxd = vm.idxd('dsa0');
  if (idxd === undefined) throw new Error('the guest has no accelerator');
  const program = new Program(vm, process.mainThread);
  const fd = value(yield* idxd.files.open(process, 0));
  const portal = value(yield* idxd.files.mapPortal(process, fd));
  const page = value(yield* process.mm.mmap(8));
  const at = (part: number): number => (page + part) * PAGE;
  copied.pasid = process.mm.pasid;
  yield* program.store(at(SOURCE), bytes);
  const move = {
    src: at(SOURCE),
    dst: at(DESTINATION),
    record: at(RECORD),
    bytes: bytes.length,
    block: true,
  };
  yield* program.storeDescriptor(at(DESCRIPTOR), move);
  yield* program.enqcmd({ source: at(DESCRIPTOR), destination: portal * PAGE });
  copied.status = yield* program.wait(at(RECORD));
  const arrived = new Uint8Array(bytes.length);
  value(yield* process.mm.copyFrom(at(DESTINATION), arrived));
  copied.bytes = arrived;
  value(yield* vm.kernel.processes.close(process, fd));
  copied.isClosed = true;
}
