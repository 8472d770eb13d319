/**
 * An Intel DSA device on a bench: memory, a root complex, an IOMMU that a test fills. Nothing goes on but what a
 * test steps.
 */
import { type Chooser, firstChooser } from '../../src/base/index.js';
import { ALL_RIGHTS, DsaDevice, type DsaOptions, Memory, RootComplex } from '../../src/hardware/index.js';
import { type Decoded, DSA_RECORD, decode } from '../../src/spec/index.js';
import { Hands, type Names, PASID, RECORD, RECORD_PAGE } from './hands.js';
import { TableIommu } from './table-iommu.js';

export * from './hands.js';

const RID = 0x0100;
const FRAMES = 4096;

export class Rig extends Hands {
  readonly memory: Memory;
  readonly root: RootComplex;
  readonly iommu = new TableIommu();
  readonly interrupts: { address: number; data: number }[] = [];

  constructor(options: Partial<DsaOptions> = {}, chooser: Chooser = firstChooser) {
    const memory = new Memory([{ first: 0, last: FRAMES - 1 }]);
    const root = new RootComplex({
      memory,
      interrupt: (address, data) => this.interrupts.push({ address, data }),
    });
    super(new DsaDevice({ rid: RID, upstream: root, chooser }, options));
    this.memory = memory;
    this.root = root;
    root.addIommu(this.iommu);
    root.attach(this.device);
    this.iommu.map(PASID, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
  }

  /** Remembers the machine as it is. */
  mark(): void {
    this.memory.mark();
    this.root.mark();
    this.device.mark();
  }

  /** Puts it back, with an IOMMU that maps the record's page alone. */
  restore(): void {
    this.memory.restore();
    this.root.restore();
    this.device.restore();
    this.iommu.clear();
    this.interrupts.length = 0;
    this.iommu.map(PASID, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
  }

  /** Answers all page requests with this code, and goes on. */
  answer(code: number): void {
    for (const { rid, pasid, group } of this.iommu.pageRequests.splice(0)) {
      this.device.pageGroupResponse({ rid, pasid, group, code });
    }
    this.run();
  }

  bytes(address: number, length: number): Uint8Array {
    const into = new Uint8Array(length);
    this.memory.read(address, into);
    return into;
  }

  /** The completion record at an address of memory. */
  record(address = RECORD): Decoded {
    return decode(DSA_RECORD, new Int32Array(this.bytes(address, 32).buffer));
  }

  /** A field of the record. */
  recordField(name: Names<typeof DSA_RECORD>, address = RECORD): bigint {
    return this.record(address).fields.find(({ field }) => field.name === name)?.value ?? -1n;
  }

  get status(): number {
    return Number(this.recordField('STATUS'));
  }
}
