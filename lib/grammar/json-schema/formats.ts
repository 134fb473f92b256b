import { complement, intersect, toAutomaton } from '../automaton';
import type { Automaton } from '../expression';
import { parseRegex } from '../regex';
import type { Document } from './document';
import type { JsonObject } from './json';

const YEAR = '([1-9]\\d{3}|0[1-9]\\d{2}|00[1-9]\\d|000[1-9])';
/** Of two digits, multiples of four; of these the century that is one is a leap year. */
const FOURTH = '(0[48]|[2468][048]|[13579][26])';
const LEAP_YEAR = `(\\d\\d${FOURTH}|${FOURTH}00)`;
const DATE = [
  `${YEAR}-(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])`,
  `${YEAR}-(0[469]|11)-(0[1-9]|[12]\\d|30)`,
  `${YEAR}-02-(0[1-9]|1\\d|2[0-8])`,
  `${LEAP_YEAR}-02-29`,
].join('|');
const MINUTES = '([01]\\d|2[0-3]):[0-5]\\d';
const SECOND_FRACTION = '(\\.\\d{1,18})?';
const OFFSET = `([Zz]|[+-]${MINUTES})`;
const TIME = `${MINUTES}:[0-5]\\d${SECOND_FRACTION}${OFFSET}`;
/** Leap seconds come at midnight, UTC; with other offsets they are left out. */
const LEAP_SECOND = `23:59:60${SECOND_FRACTION}([Zz]|[+-]00:00)`;

const DIGITS = '\\d{1,9}';
const DAYS = `(${DIGITS}D)`;
const DATES = `(${DIGITS}Y(${DIGITS}M${DAYS}?)?|${DIGITS}M${DAYS}?|${DIGITS}D)`;
const TIMES = `(T(${DIGITS}H(${DIGITS}M(${DIGITS}S)?)?|${DIGITS}M(${DIGITS}S)?|${DIGITS}S))`;

const ALNUM = '[A-Za-z0-9]';
function label(most: number): string {
  return `${ALNUM}([A-Za-z0-9-]{0,${most - 2}}${ALNUM})?`;
}
/** 253 characters at most: four labels of any length, or more of shorter ones. */
const HOSTNAME = [
  `${label(63)}(\\.${label(63)}){0,2}`,
  `(${label(63)}\\.){3}${label(61)}`,
  `${label(15)}(\\.${label(15)}){4,14}`,
].join('|');
/** Labels in Punycode have rules of their own, and others with `--` there are reserved. */
const RESERVED_LABEL = '(^|\\.)[^.][^.]--';

const BYTE = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = `${BYTE}(\\.${BYTE}){3}`;
const GROUP = '[0-9A-Fa-f]{1,4}';
/** The last two groups. */
const LAST_GROUPS = `(${GROUP}:${GROUP}|${IPV4})`;
const IPV6 = [
  `(${GROUP}:){6}${LAST_GROUPS}`,
  // With `::` after so many groups, and the most that may follow.
  ...Array.from({ length: 8 }, (_, before) => {
    const head = before === 0 ? '' : `${GROUP}(:${GROUP}){${before - 1}}`;
    const after = 7 - before;
    const tails = [`(${GROUP}(:${GROUP}){0,${after - 1}})?`];
    if (after >= 2) tails.push(`(${GROUP}:){0,${after - 2}}${IPV4}`);
    return `${head}::(${after === 0 ? '' : tails.join('|')})`;
  }),
].join('|');

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const QUOTED = '"([ !#-\\[\\]-~]|\\\\[ -~])*"';
const DOMAIN = `${label(63)}(\\.${label(63)})*`;
const EMAIL = `(${ATOM}(\\.${ATOM})*|${QUOTED})@(${DOMAIN}|\\[(${IPV4}|IPv6:(${IPV6}))\\])`;

const UUID = '[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}';

const UNRESERVED = "A-Za-z0-9._~!$&'()*+,;=\\-";
const ESCAPED = '%[0-9A-Fa-f]{2}';
const SEGMENT_CHARACTER = `([${UNRESERVED}:@]|${ESCAPED})`;
const HOST = `(\\[(${IPV6}|[vV][0-9A-Fa-f]+\\.[${UNRESERVED}:]+)\\]|([${UNRESERVED}]|${ESCAPED})*)`;
const AUTHORITY = `(([${UNRESERVED}:]|${ESCAPED})*@)?${HOST}(:\\d*)?`;
const ABSOLUTE_PATH = `/(${SEGMENT_CHARACTER}+(/${SEGMENT_CHARACTER}*)*)?`;
const AFTER_PATH = `(\\?(${SEGMENT_CHARACTER}|[/?])*)?(#(${SEGMENT_CHARACTER}|[/?])*)?`;
const WITH_AUTHORITY = `//${AUTHORITY}(/${SEGMENT_CHARACTER}*)*`;
const URI = `[A-Za-z][A-Za-z0-9+.-]*:(${WITH_AUTHORITY}|${ABSOLUTE_PATH}|${SEGMENT_CHARACTER}+(/${SEGMENT_CHARACTER}*)*)?${AFTER_PATH}`;
/** Its first segment has no colon. */
const RELATIVE = `(${WITH_AUTHORITY}|${ABSOLUTE_PATH}|([${UNRESERVED}@]|${ESCAPED})+(/${SEGMENT_CHARACTER}*)*)?${AFTER_PATH}`;

const POINTER = '(/([^/~]|~[01])*)*';

const SOURCES: ReadonlyMap<string, string> = new Map([
  ['date', DATE],
  ['time', `${TIME}|${LEAP_SECOND}`],
  ['date-time', `(${DATE})[Tt](${TIME})|${YEAR}-(06-30|12-31)[Tt]${LEAP_SECOND}`],
  ['duration', `P(${DATES}${TIMES}?|${TIMES}|${DIGITS}W)`],
  ['email', EMAIL],
  ['hostname', HOSTNAME],
  ['ipv4', IPV4],
  ['ipv6', IPV6],
  ['uuid', UUID],
  ['uri', URI],
  ['uri-reference', `(${URI})|${RELATIVE}`],
  ['json-pointer', POINTER],
  ['relative-json-pointer', `(0|[1-9]\\d{0,9})(#|${POINTER})`],
]);

/** Formats of the standard that no automaton here has. */
const UNSUPPORTED: ReadonlySet<string> = new Set([
  'idn-email',
  'idn-hostname',
  'iri',
  'iri-reference',
  'regex',
  'uri-template',
]);

const known = new Map<string, Automaton>();

/** Formats that the standard does not have are annotations: undefined. */
export function formatAutomaton(
  document: Document,
  schema: JsonObject,
  name: string,
): Automaton | undefined {
  if (UNSUPPORTED.has(name))
    throw document.error(schema, 'format', `The format "${name}" is not supported.`);
  const source = SOURCES.get(name);
  if (source === undefined) return undefined;
  let automaton = known.get(name);
  if (automaton === undefined) {
    automaton = toAutomaton(parseRegex(source), { anchored: true });
    if (name === 'hostname') {
      automaton = intersect(
        automaton,
        complement(toAutomaton(parseRegex(RESERVED_LABEL), { anchored: false })),
      );
    }
    known.set(name, automaton);
  }
  return automaton;
}
