/**
 * Taps on kernels and VMMs: what each tells of its own doing, and its IOASID core. A guest's kernel knows its own
 * numbers alone; whoever listens is told both, and never has to guess whose a number is.
 */
import type { Event, EventSink, FieldValue } from '../../../base/index.js';
import type { GuestLedger } from '../../../rules/index.js';
import type { KernelEvent } from '../platform.js';
import { whose, whoseGuest, whoseOn } from './identity.js';
import type { JobTaps } from './jobs.js';
import { type Aliases, type Fields, present, renamed, renamedFields } from './names.js';
import type { PageRequestTaps } from './page-requests.js';
import type { Tapped } from './tapped.js';

const PAGE = 4096;

/** Those of the host's events whose `pasid` is the guest's number. */
const GUEST_NUMBERED: ReadonlySet<string> = new Set(['kvm:exit']);
/** Those whose `pasid` is that of a device's requests. */
const DEVICE_NUMBERED: ReadonlySet<string> = new Set([
  'iommu:fault',
  'iommu:page-response',
  'iommu:page-request-refused',
]);
/** What software reports of faults: of a device, a PASID and mostly an address. */
const FAULTS: ReadonlySet<string> = new Set(['iommu:fault', 'idxd:error', 'iommu:page-request-refused']);

/** A guest, as the scenario has it. */
export interface TappedGuest {
  readonly ledger: GuestLedger;
  /** What the guest calls devices and queues, and what the scenario does. */
  readonly aliases: Aliases;
  /** The host's device behind one of the guest's, by the scenario's names. */
  readonly deviceOf: (name: string) => string;
}

export class KernelTaps {
  readonly #tapped: Tapped;
  readonly #jobs: JobTaps;
  readonly #requests: PageRequestTaps;

  constructor(tapped: Tapped, jobs: JobTaps, requests: PageRequestTaps) {
    this.#tapped = tapped;
    this.#jobs = jobs;
    this.#requests = requests;
  }

  readonly host = ({ kind, fields: told }: KernelEvent): void => {
    const tapped = this.#tapped;
    if (kind === 'iommu:default-pasid') {
      // Nobody in the guest works without PASIDs but its kernel.
      const domain = renamed(String(told['domain']), tapped.aliases);
      const vm = tapped.ledger.guest(domain)?.name ?? domain;
      tapped.ledger.pasids.takenFor(Number(told['pasid']), kernelOf(vm));
    }
    const isHooked = tapped.hooks?.kinds.has(kind) === true;
    if (!tapped.isTold && !isHooked) return;
    const fields = namedFor(tapped, told, tapped.aliases);
    if (tapped.isTold) tapped.tell('kernel', tapped.actor, kind, this.#ofHost(kind, fields));
    if (isHooked) tapped.hooks?.kernelEvent({ kind, fields }, 'host');
  };

  /** What a guest's kernel and its VMM tell. */
  guest(of: TappedGuest): (event: KernelEvent) => void {
    const tapped = this.#tapped;
    return ({ kind, fields: told }) => {
      if (kind === 'viommu:rid-pasid') {
        tapped.ledger.pasids.takenFor(Number(told['hostPasid']), kernelOf(of.ledger.name));
      } else if (kind === 'viommu:backed') {
        this.#backed(of.ledger, Number(told['guestPasid']), Number(told['hostPasid']));
      }
      const isHooked = tapped.hooks?.kinds.has(kind) === true;
      if (!tapped.isTold && !isHooked) return;
      const fields = namedFor(tapped, told, of.aliases);
      if (tapped.isTold) {
        const layer = kind.startsWith('viommu:') ? 'vmm' : 'kernel';
        tapped.tell(layer, tapped.actor, kind, this.#ofGuest(kind, fields, of));
      }
      if (isHooked) tapped.hooks?.kernelEvent({ kind, fields }, of.ledger.name);
    };
  }

  /** Without a listener, what the ledgers keep is all that is read of an IOASID core's events. */
  readonly readsIoasid = (kind: string): boolean =>
    this.#tapped.isTold || kind === 'alloc' || kind === 'reclaim';

  /** The host's IOASID core's own events. */
  readonly ioasid: EventSink = ({ kind, fields }: Event) => {
    const tapped = this.#tapped;
    const { ledger, judge } = tapped;
    const pasid = Number(fields['id']);
    const mm = this.#mmOf(tapped.actor);
    if (tapped.isTold) {
      const given = kind === 'alloc' ? present({ owner: mm, vm: ledger.guestOf(mm)?.name }) : undefined;
      const known = fields['id'] === undefined ? {} : (given ?? whose(ledger, pasid));
      tapped.tell('ioasid', tapped.actor, kind, { ...renamedFields(fields, tapped.aliases), ...known });
    }
    if (kind === 'alloc') {
      judge.tell('given', { pasid, mm });
      ledger.pasids.given(pasid, mm, ledger.step);
    } else if (kind === 'reclaim') {
      judge.tell('takenBack', pasid);
      ledger.pasids.takenBack(pasid, ledger.step);
    }
  };

  /** A guest's: what its kernel gives to an address space is backed by what the host has given for it just before. */
  guestIoasid({ ledger: guest, aliases }: Pick<TappedGuest, 'ledger' | 'aliases'>): EventSink {
    const tapped = this.#tapped;
    const { ledger } = tapped;
    return ({ kind, fields }: Event) => {
      const id = Number(fields['id']);
      const mm = this.#mmOf(tapped.actor);
      const pasid = kind === 'alloc' ? ledger.pasids.of(mm) : undefined;
      if (tapped.isTold && !kind.startsWith('announce')) {
        const given = present({ vm: guest.name, guestPasid: id, owner: mm, pasid });
        const known = kind === 'alloc' ? given : whoseGuest(ledger, guest, id);
        tapped.tell('ioasid', tapped.actor, `guest:${kind}`, { ...renamedFields(fields, aliases), ...known });
      }
      if (kind === 'alloc') {
        if (pasid !== undefined) {
          tapped.judge.tell('backed', { vm: guest.name, mm, guest: id, pasid });
          ledger.pasids.named(pasid, id);
        }
        guest.pasids.given(id, mm, ledger.step);
        if (pasid !== undefined) guest.pasids.backed(id, pasid);
      } else if (kind === 'reclaim') {
        guest.pasids.takenBack(id, ledger.step);
      }
    };
  }

  /** Of a guest's number that is in use, another of the host's stands behind it. */
  #backed(guest: GuestLedger, guestPasid: number, pasid: number): void {
    const { pasids } = this.#tapped.ledger;
    const tenure = guest.pasids.tenure(guestPasid);
    if (tenure === undefined || tenure.until !== undefined) return;
    pasids.takenFor(pasid, tenure.mm);
    pasids.named(pasid, guestPasid);
    guest.pasids.backed(guestPasid, pasid);
  }

  #ofHost(kind: string, fields: Fields): Fields {
    const { ledger } = this.#tapped;
    if (GUEST_NUMBERED.has(kind)) {
      const { pasid, ...rest } = fields;
      const guest = ledger.guest(String(fields['vm']));
      return guest === undefined ? fields : { ...rest, ...whoseGuest(ledger, guest, Number(pasid)) };
    }
    const pasid = numberOf(fields['pasid']);
    if (pasid === undefined) return fields;
    const device = String(fields['device'] ?? fields['rid']);
    // What an IOMMU reports has the number of its device's requests.
    const id = DEVICE_NUMBERED.has(kind) ? ledger.numbering.idOf(device, pasid) : pasid;
    const known = DEVICE_NUMBERED.has(kind) ? whoseOn(ledger, device, pasid) : whose(ledger, pasid);
    const { pasid: _, ...rest } = fields;
    return { ...rest, pasid: id, ...known, ...this.#work(kind, fields, { device, pasid: id }) };
  }

  #ofGuest(kind: string, fields: Fields, { ledger: guest, deviceOf }: TappedGuest): Fields {
    const { ledger } = this.#tapped;
    const { pasid: own, hostPasid, ...rest } = fields;
    const guestPasid = numberOf(fields['guestPasid'] ?? own);
    const vm = { ...rest, vm: guest.name };
    if (guestPasid === undefined) return vm;
    const whole = { ...vm, ...whoseGuest(ledger, guest, guestPasid) };
    const known = hostPasid === undefined ? whole : { ...whole, pasid: hostPasid };
    const pasid = 'pasid' in known ? numberOf(known.pasid) : undefined;
    if (pasid === undefined) return known;
    const device = deviceOf(String(fields['device'] ?? fields['rid']));
    return { ...known, ...this.#work(kind, fields, { device, pasid }) };
  }

  /** The descriptor that a fault or an answer is about, and its queue. */
  #work(kind: string, fields: Fields, { device, pasid }: { device: string; pasid: number }): Fields {
    if (kind === 'iommu:page-response') return this.#requests.ofGroup(device, Number(fields['group']));
    if (!FAULTS.has(kind)) return {};
    const page = Math.floor(Number(fields['page'] ?? fields['address']) / PAGE);
    return this.#jobs.ofFault(device, pasid, page);
  }

  /** The address space that a task is of: threads are named after their process. */
  #mmOf(actor: string): string {
    const first = actor.indexOf('/');
    if (first < 0) return actor;
    const machine = actor.slice(0, first);
    if (this.#tapped.ledger.guest(machine) === undefined) return machine;
    const second = actor.indexOf('/', first + 1);
    return second < 0 ? actor : actor.slice(0, second);
  }
}

/** Fields by the scenario's names; of what nobody reads, only the device matters. */
function namedFor({ isTold }: Tapped, fields: Fields, aliases: Aliases): Fields {
  if (isTold) return renamedFields(fields, aliases);
  const device = fields['device'];
  return typeof device === 'string' ? { ...fields, device: renamed(device, aliases) } : fields;
}

/** The address space of a guest's kernel: what its devices reach without PASIDs. */
const kernelOf = (vm: string): string => `${vm}/kernel`;

const numberOf = (value: FieldValue | undefined): number | undefined =>
  typeof value === 'number' ? value : undefined;
