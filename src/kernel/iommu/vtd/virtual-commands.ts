/**
 * PASIDs by virtual command (VT-d 4.1, 11.4.45 to 11.4.48): in a virtual machine the VMM gives out the guest's
 * PASIDs, for each needs one of the host's behind it. A custom allocator of the IOASID core; it stands where the unit
 * says that it allocates (ECAP.VCS and VCCAP.PAS), with the registers of today's revision or of those before 3.3:
 * which, is told by where VCCAP is found.
 */
import { type Refusal, refuse } from '../../../base/index.js';
import { INVALID_IOASID, type IoasidAllocatorOps } from '../../../ioasid/index.js';
import {
  ECAP_REG,
  getNumber,
  VCCAP_REG,
  VCRSP_REG,
  VCRSP_REG_3_2,
  VIRTUAL_COMMAND_REGISTER_3_2,
  VTD_REGISTER,
} from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { tell } from '../../context.js';
import type { UnitRegisters } from './registers.js';

const TODAY = {
  VCMD: VTD_REGISTER.VCMD,
  VCRSP: VTD_REGISTER.VCRSP,
  ...{ response: VCRSP_REG, noPasid: 16 },
} as const;
const BEFORE_3_3 = {
  VCMD: VIRTUAL_COMMAND_REGISTER_3_2.VCMD,
  VCRSP: VIRTUAL_COMMAND_REGISTER_3_2.VCRSP,
  ...{ response: VCRSP_REG_3_2, noPasid: 2 },
} as const;

const ALLOC = 1;
const FREE = 2;
/** How often IP is read before the other end is given up: it answers while the write traps. */
const POLLS = 1000;

/** The allocator of a unit's virtual commands; undefined if it has none. */
export function virtualCommandAllocator(
  context: KernelContext,
  registers: UnitRegisters,
  name: string,
): IoasidAllocatorOps | undefined {
  if (ECAP_REG.VCS.get(registers.read64(VTD_REGISTER.ECAP), 0) === 0) return undefined;
  const found = findRegisters(registers);
  if (found === undefined) return undefined;
  const { VCMD, VCRSP, response, noPasid } = found;

  /** Submits a command; VCRSP's words once it is answered. */
  const submit = (code: number, operand: number): Int32Array | undefined => {
    registers.write64(VCMD, { CMD: code, OP: operand });
    for (let poll = 0; poll < POLLS; poll++) {
      const words = registers.read64(VCRSP);
      if (response.IP.get(words, 0) === 0) return words;
    }
    tell(context, 'iommu:virtual-command', { unit: name, command: code, status: null });
    return undefined;
  };
  const failed = (code: number, status: number): Refusal<'EIO'> => {
    tell(context, 'iommu:virtual-command', { unit: name, command: code, status });
    return refuse('EIO', `${name}: virtual command ${code} failed with status ${status}`);
  };
  return {
    name: `${name} virtual commands`,
    /** The interface takes no range: one that does not suit is handed back by the core. */
    alloc() {
      const words = submit(ALLOC, 0);
      if (words === undefined) return refuse('EIO', `${name} does not answer virtual commands`);
      const status = response.SC.get(words, 0);
      if (status === noPasid) return INVALID_IOASID;
      return status === 0 ? getNumber(response.RSLT, words, 0) : failed(ALLOC, status);
    },
    free(id) {
      const words = submit(FREE, id);
      const status = words === undefined ? 0 : response.SC.get(words, 0);
      if (status !== 0) failed(FREE, status);
    },
  };
}

function findRegisters(registers: UnitRegisters): typeof TODAY | typeof BEFORE_3_3 | undefined {
  const { PAS } = VCCAP_REG;
  if (PAS.get(registers.read64(VTD_REGISTER.VCCAP), 0) === 1) return TODAY;
  const old = registers.read64(VIRTUAL_COMMAND_REGISTER_3_2.VCCAP);
  return PAS.get(old, 0) === 1 ? BEFORE_3_3 : undefined;
}
