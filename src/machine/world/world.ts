/**
 * A host, built from a scenario, and run: hardware, kernel, the scenario's actors, rules that watch. It boots once,
 * and is marked when it is quiet; each run begins there, and is a pure function of the answers to its choices.
 */
import {
  assert,
  Bug,
  type Chooser,
  type EventSink,
  isRefusal,
  Random,
  RandomChooser,
  type Refusal,
  type Restorable,
  type Task,
  TaskSet,
} from '../../base/index.js';
import { type IoasidCore, ioasidCapacity, ioasidCreate, ioasidStrayNotifiers } from '../../ioasid/index.js';
import { type GuestProtections, Kernel, type Platform } from '../../kernel/index.js';
import {
  type Finding,
  FrameSet,
  type GuestLedger,
  Judge,
  RULES,
  type RuleId,
  type Verdict,
} from '../../rules/index.js';
import { quotasOf } from '../scenario/check-vms.js';
import { vmMembers } from '../scenario/members.js';
import type { DeviceSpec, Scenario } from '../scenario/schema.js';
import { Cast } from './cast.js';
import { SwitchedChooser } from './chooser.js';
import { GuestVm } from './guest-vm.js';
import { type Accelerator, Hardware } from './hardware.js';
import { groupsOf, HostMachine } from './machines.js';
import { type PasidRow, WidestTable } from './pasid-table.js';
import { HostPlatform } from './platform.js';
import { Scheduler } from './scheduler.js';
import { Script } from './script.js';
import { HostBench } from './state-bench.js';
import { Taps } from './taps/taps.js';
import { VirtualMachine } from './virtual-machine.js';

/** What came of a run. */
export interface RunResult {
  /**
   * `ended`: nobody can go on; `cut-off`: the step limit was reached; `stopped`: a rule was broken, and it was the one
   * that is to break, or the modelled software then ran into what it takes to be impossible.
   */
  readonly end: 'ended' | 'cut-off' | 'stopped';
  readonly steps: number;
  readonly findings: readonly Finding[];
  readonly verdicts: ReadonlyMap<RuleId, Verdict>;
  /** PASIDs as they stood when the most of them were in use. */
  readonly pasids: readonly PasidRow[];
  /** How many PASIDs were in use at once, at most. */
  readonly mostPasids: number;
}

/** Events after which the table of PASIDs may be fuller than ever. */
const LOOK_AT: ReadonlySet<string> = new Set(['process:signal', 'mm:map', 'idxd:copy']);
const HOOKED: ReadonlySet<string> = new Set([...LOOK_AT, ...Cast.KERNEL_EVENTS]);

/** The seed of the boot: the same machine whatever the run. */
const BOOT_SEED = 1;
const BOOT_STEPS = 1_000_000;
/** PASID 0 is nobody's. */
const MOST_PASIDS = 0xfffff;
const VM_BOOT_STEPS = 100_000;
/** Between two words of progress. */
const STEPS_A_WORD = 0x4000;

export interface WorldOptions {
  /** Gives what stands between the kernel and the hardware: who records what the kernel does. */
  readonly between?: ((platform: Platform) => Platform) | undefined;
  /** Told now and then how far boot and runs have come. */
  readonly progress?: ((what: string) => void) | undefined;
  /** It runs once, and remembers nothing to go back to: less memory, for machines that are large. */
  readonly isForOneRun?: boolean | undefined;
}

export class World {
  readonly scenario: Scenario;
  readonly script: Script;
  readonly hardware: Hardware;
  readonly kernel: Kernel;
  readonly taps: Taps;
  readonly judge: Judge;
  readonly tasks = new TaskSet();
  /** Devices that the kernel could not configure as the scenario says, by their place, and why. */
  readonly unusable = new Map<string, Refusal>();
  readonly #progress: (what: string) => void;
  readonly #chooser = new SwitchedChooser();
  readonly #scheduler: Scheduler;
  readonly #ioasids: IoasidCore;
  readonly #bench: HostBench;
  readonly host: HostMachine;
  /** By name. */
  readonly vms = new Map<string, VirtualMachine>();
  readonly #parts: readonly Restorable[];
  #bootFrames = new FrameSet();
  readonly #guestBootFrames = new Map<string, FrameSet>();
  #pasidsAtBoot = 0;
  readonly #widest = new WidestTable();
  #isStopped = false;
  readonly #isForOneRun: boolean;
  #hasRun = false;

  /** Builds and boots it. A `Bug` if it does not boot. */
  constructor(scenario: Scenario, options: WorldOptions = {}) {
    const { between = (platform) => platform, progress = () => undefined } = options;
    this.scenario = scenario;
    this.script = new Script(scenario);
    this.#progress = progress;
    this.taps = new Taps(this.tasks);
    const { taps, tasks } = this;
    this.hardware = new Hardware(scenario.machine, taps, this.#chooser);
    const bench = new HostBench(this.hardware, taps, this.vms);
    this.#bench = bench;
    const earned = new Set(scenario.expect.faults);
    this.judge = new Judge(RULES, { ledger: taps.ledger, bench, earned });
    taps.connect(this.hardware, this.judge);
    const platform = new HostPlatform(this.hardware, this.#chooser, {
      kernel: taps.kernels.host,
      stored: taps.stored,
    });
    this.#ioasids = newIoasids(taps);
    const whole = wholeFunctions(scenario, this.hardware.accelerators);
    this.kernel = new Kernel({
      name: 'host',
      platform: between(platform),
      tasks,
      ioasids: this.#ioasids,
      ledger: taps.frames,
      ridDomain: scenario.machine['kernel-dma'],
      framesMayFail: scenario.choices['allocation-failures'],
      vfioPci: whole.map(({ rid }) => rid),
      protections: protectionsOf(scenario.protections),
      ...hostQuota(scenario),
    });
    this.host = new HostMachine(this.kernel, this.hardware, this.unusable);
    this.#scheduler = new Scheduler(tasks, this.hardware.scheduled);
    this.#boot();
    const vms = [...this.vms.values()].map(({ vm }) => vm.vm);
    this.#parts = [this.hardware, ...platform.kept, this.#ioasids, tasks, ...vms, taps, this.judge];
    this.#isForOneRun = options.isForOneRun === true;
    if (!this.#isForOneRun) for (const part of this.#parts) part.mark();
  }

  /** Goes back to the quiet machine. */
  restore(): void {
    assert(!this.#isForOneRun, 'a machine for one run does not go back');
    for (const part of this.#parts) part.restore();
    this.taps.hooks = undefined;
    this.#isStopped = false;
    this.#widest.clear();
  }

  /**
   * Runs the scenario from its beginning to where nobody can go on.
   *
   * @param chooser answers every choice of the run
   * @param listener takes what happens; without one, no events are made
   * @param beside spawns what runs beside the scenario's actors, when these have been brought on
   */
  run(chooser: Chooser, listener?: EventSink, beside?: () => void): RunResult {
    assert(!this.#isForOneRun || !this.#hasRun, 'a machine for one run runs again');
    // Rules judge a run, not the boot before it.
    if (this.#isForOneRun) this.judge.restore();
    else this.restore();
    this.#hasRun = true;
    this.#chooser.inner = chooser;
    const { taps, judge } = this;
    taps.listener = listener;
    judge.onFinding =
      listener && (({ rule, message }) => taps.tell('rules', taps.actor, 'finding', { rule, message }));
    const cast = new Cast(this);
    taps.hooks = {
      kinds: HOOKED,
      jobDone: (job) => cast.jobDone(job),
      kernelEvent: (event, machine) => {
        if (LOOK_AT.has(event.kind)) this.#lookAtPasids();
        cast.kernelEvent(event, this.vms.get(machine) ?? this.host);
      },
    };
    cast.begin();
    beside?.();
    const end = this.#go(chooser);
    const steps = taps.ledger.step;
    if (end === 'ended') this.#judgeEnd();
    if (end === 'cut-off') judge.tell('cutOff', { tasks: this.#places });
    return {
      end,
      steps,
      findings: [...judge.findings],
      verdicts: this.#verdicts(end),
      pasids: this.#widest.rows,
      mostPasids: this.#widest.most,
    };
  }

  #go(chooser: Chooser): RunResult['end'] {
    const limit = this.scenario.choices['step-limit'];
    const { ledger } = this.taps;
    for (;;) {
      if (ledger.step >= limit) return 'cut-off';
      if (ledger.step % STEPS_A_WORD === 0) this.#progress(`step ${ledger.step}`);
      if (!this.#step(chooser)) return this.#isStopped ? 'stopped' : 'ended';
      if (this.#hasBroken) return 'stopped';
      ledger.step++;
    }
  }

  /** What comes after the rule that is to break would follow from that. */
  get #hasBroken(): boolean {
    const { breaks } = this.scenario.expect;
    return breaks !== undefined && this.judge.findings.some(({ rule }) => rule === breaks);
  }

  /** A Bug after a finding follows from what was found; without one, it is ours. */
  #step(chooser: Chooser): boolean {
    try {
      return this.#scheduler.step(chooser);
    } catch (error) {
      if (!(error instanceof Bug) || this.judge.findings.length === 0) throw error;
      this.taps.tell('machine', 'host', 'stopped', { why: error.message });
      this.#isStopped = true;
      return false;
    }
  }

  #boot(): void {
    const random = new RandomChooser(new Random(BOOT_SEED));
    // Memory runs out in a run, not in the boot before it, which is one and the same for all of them.
    const chooser: Chooser = { choose: (n, what) => (what === 'page frame' ? 0 : random.choose(n, what)) };
    this.#chooser.inner = chooser;
    let hasBooted = false;
    const { unusable } = this;
    const bootVms = this.#bootVms();
    const boot = function* (kernel: Kernel, devices: readonly DeviceSpec[], rids: readonly number[]): Task {
      const refusal = yield* kernel.boot();
      assert(refusal === undefined, `the kernel does not boot: ${String(refusal)}`);
      for (const [i, device] of devices.entries()) {
        const idxd = kernel.idxds.find(({ pci }) => pci.rid === rids[i]);
        assert(idxd !== undefined, `the kernel has not found the device at ${device.at}`);
        const refused = yield* idxd.configure(groupsOf(device));
        if (refused !== undefined) unusable.set(device.at, refused);
      }
      yield* bootVms;
      hasBooted = true;
    };
    const whole = wholeFunctions(this.scenario, this.hardware.accelerators);
    const accelerators = this.hardware.accelerators.filter((each) => !whole.includes(each));
    const specs = accelerators.map(({ spec }) => spec);
    const rids = accelerators.map(({ rid }) => rid);
    this.tasks.spawn('boot', boot(this.kernel, specs, rids));
    let steps = 0;
    const most = BOOT_STEPS + VM_BOOT_STEPS * vmMembers(this.scenario).length;
    while (this.#scheduler.step(chooser)) assert(steps++ < most, 'the kernel boots for ever');
    assert(hasBooted, 'the boot waits for ever');
    const { ledger } = this.taps;
    this.#bootFrames = inUse(ledger.frames);
    for (const { name, frames } of ledger.guests()) this.#guestBootFrames.set(name, inUse(frames));
    this.#pasidsAtBoot = this.#pasidsInUse;
  }

  /** Virtual machines boot one after the other. */
  *#bootVms(): Task {
    const { hardware, host, taps, tasks } = this;
    const ground = { hardware, host, taps, tasks, chooser: this.#chooser };
    const members = vmMembers(this.scenario);
    for (const [i, member] of members.entries()) {
      this.#progress(`virtual machine ${i + 1} of ${members.length} boots`);
      const vm = yield* GuestVm.boot(ground, member);
      this.vms.set(member.name, new VirtualMachine(member, vm, host));
    }
  }

  /**
   * How many PASIDs the core has handed out to processes. What stands for a virtual machine's requests without one
   * comes and goes with what its guest does to its IOMMU, and is asked for when the machine has gone.
   */
  get #pasidsInUse(): number {
    const { live } = ioasidCapacity(this.#ioasids);
    const kernels = new Set([...this.vms.keys()].map((vm) => `${vm}/kernel`));
    return live - this.taps.ledger.pasids.count((mm) => kernels.has(mm));
  }

  #judgeEnd(): void {
    const { judge } = this;
    judge.tell('ended', {
      stuck: this.#places,
      bootFrames: this.#bootFrames,
      guestBootFrames: this.#guestBootFrames,
      pasidsInUse: this.#pasidsInUse - this.#pasidsAtBoot,
      strayNotifiers: ioasidStrayNotifiers(this.#ioasids),
    });
  }

  /** Where each task is. */
  get #places(): { readonly name: string; readonly at: string }[] {
    return this.tasks.tasks.map(({ name, at }) => ({ name, at }));
  }

  #lookAtPasids(): void {
    const { hardware, taps } = this;
    const look = { hardware, bench: this.#bench, isTold: taps.listener !== undefined };
    this.#widest.look(this.#ioasids, taps, look);
  }

  #verdicts(end: RunResult['end']): ReadonlyMap<RuleId, Verdict> {
    const { findings } = this.judge;
    const verdicts = new Map<RuleId, Verdict>();
    for (const { id } of RULES) {
      const isBroken = findings.some(({ rule }) => rule === id);
      verdicts.set(id, isBroken ? 'fail' : end === 'ended' ? 'pass' : 'unknown');
    }
    return verdicts;
  }
}

function newIoasids({ ledger, kernels }: Taps): IoasidCore {
  const core = ioasidCreate({ step: () => ledger.step, trace: kernels.ioasid, traces: kernels.readsIoasid });
  assert(!isRefusal(core), `no IOASID core: ${String(core)}`);
  return core;
}

/** The frames that somebody owns. */
function inUse(frames: GuestLedger['frames']): FrameSet {
  const owned = new FrameSet();
  frames.each((frame) => owned.add(frame));
  return owned;
}

/** The host's own processes have what its virtual machines leave. */
function hostQuota(scenario: Scenario): { readonly quota?: number } {
  if (Object.keys(scenario.vms).length === 0) return {};
  return { quota: MOST_PASIDS - Object.values(scenario.vms).reduce((sum, spec) => sum + quotasOf(spec), 0) };
}

/** The accelerators that virtual machines have whole. */
function wholeFunctions({ vms }: Scenario, accelerators: readonly Accelerator[]): readonly Accelerator[] {
  const names = new Set(
    Object.values(vms).flatMap(({ devices }) => Object.values(devices).map(({ from }) => from)),
  );
  return accelerators.filter(({ name }) => names.has(name));
}

const protectionsOf = (protections: Scenario['protections']): GuestProtections => ({
  ownDomainIds: protections['domain-id-per-function'],
  bindPerDevice: protections['bind-per-device'],
  pageRequestsByRid: protections['page-requests-by-rid'],
});
