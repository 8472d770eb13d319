/**
 * What a virtual unit is while it has nothing to do: what its guest has written, and which PASIDs it has. Of the host's
 * PASIDs behind them it says nothing, nor of what is bound to them but that it was: the guest's tables say the rest, and
 * lie in its memory. So a unit on another set of host PASIDs can take it over.
 */
import { type Refusal, refuse } from '../../base/index.js';
import type { RootTable, UnitState } from '../../hardware/index.js';

/** What its guest was shown, and goes by. */
export interface Offer {
  readonly cap: bigint;
  readonly ecap: bigint;
  /** The virtual command registers are those of before revision 3.3. */
  readonly oldVirtualCommands: boolean;
}

export interface VirtualIommuState extends Offer {
  readonly unit: UnitState;
  /** Translation, and the root table, as the host follows them. */
  readonly isEnabled: boolean;
  readonly root: RootTable | undefined;
  /** The guest PASIDs that were given out, oldest first. */
  readonly pasids: readonly number[];
  /** What was bound: virtual RID and guest PASID, 0 for requests without one. */
  readonly bound: readonly { readonly rid: number; readonly guestPasid: number }[];
}

/** Whether a unit can take another's guest over: it offers the same. On failure: `EINVAL`. */
export function checkOffer(name: string, own: Offer, was: Offer): Refusal<'EINVAL'> | undefined {
  const isSame = (['cap', 'ecap', 'oldVirtualCommands'] as const).every((each) => own[each] === was[each]);
  if (isSame) return undefined;
  return refuse('EINVAL', `${name} offers ${offerText(own)}, and was to offer ${offerText(was)}`);
}

const offerText = ({ cap, ecap, oldVirtualCommands }: Offer): string =>
  `CAP 0x${cap.toString(16)}, ECAP 0x${ecap.toString(16)}${oldVirtualCommands ? ', virtual commands of before 3.3' : ''}`;
