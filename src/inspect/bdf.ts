/** Requester ids as people write them: bus, device and function, `00:1f.3`. */
import { type Refusal, refuse } from '../base/index.js';

/** `00:1f.3` from 16 bits. */
export function bdf(rid: number): string {
  const hex2 = (value: number): string => value.toString(16).padStart(2, '0');
  return `${hex2(rid >> 8)}:${hex2((rid >> 3) & 0x1f)}.${rid & 7}`;
}

/** A requester id from `00:1f.3`, or with segment 0 before it, as the kernel writes it: `0000:00:1f.3`. */
export function parseBdf(text: string): number | Refusal<'EINVAL'> {
  const match = /^(?:0000:)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i.exec(text);
  const [bus, device, fn] = [match?.[1], match?.[2], match?.[3]].map((part) =>
    Number.parseInt(part ?? '', 16),
  );
  if (bus === undefined || device === undefined || fn === undefined || !(device < 32)) {
    return refuse(
      'EINVAL',
      `${JSON.stringify(text.slice(0, 60))} is no requester: bus:device.function in hexadecimal, as 00:1f.3`,
    );
  }
  return (bus << 8) | (device << 3) | fn;
}
