import type { ChatRequest } from './api';
import { announce, byId, elementOf } from './dom';
import { isRecord, Stored, textOf } from './storage';

const NUMBERS = ['temperature', 'top_p', 'max_tokens', 'seed'] as const;
const NAMES = ['system', ...NUMBERS, 'stop', 'format', 'schema'] as const;
const EXAMPLE = JSON.stringify(
  {
    type: 'object',
    properties: { name: { type: 'string' }, year: { type: 'integer' } },
    required: ['name', 'year'],
    additionalProperties: false,
  },
  null,
  2,
);

type Name = (typeof NAMES)[number];
type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;
const KINDS = [HTMLInputElement, HTMLTextAreaElement, HTMLSelectElement];
type Sampling = Omit<ChatRequest, 'model' | 'messages'>;

/** The panel beside the conversation, kept over reloads. */
export class Options {
  private readonly stored = new Stored('localStorage', 'options', (value) =>
    isRecord(value) ? value : {},
  );

  constructor(private readonly open: () => void) {
    const values = this.stored.read();
    for (const name of NAMES) {
      const field = this.field(name);
      if (typeof values[name] === 'string') field.value = values[name];
      field.addEventListener('input', () => {
        this.changed(name);
      });
    }
    if (this.field('format').value === '') this.field('format').value = 'text';
    if (this.field('schema').value === '') this.field('schema').value = EXAMPLE;
    byId('options-form').addEventListener('submit', (event) => {
      event.preventDefault();
    });
    byId('reset').addEventListener('click', () => {
      for (const name of NAMES) this.field(name).value = '';
      this.field('format').value = 'text';
      this.field('schema').value = EXAMPLE;
      for (const name of NAMES) this.changed(name);
      announce('The options are those of the server again');
    });
    for (const name of NAMES) this.changed(name);
  }

  get system(): string {
    return this.field('system').value;
  }

  get json(): boolean {
    return this.field('format').value !== 'text';
  }

  /** What to ask for; undefined, with the panel open at the fault, where a field is wrong. */
  sampling(): Sampling | undefined {
    const wrong = NAMES.find((name) => this.show(name, this.fault(name)));
    if (wrong !== undefined) {
      this.open();
      this.field(wrong).focus();
      return undefined;
    }
    const stop = this.stops();
    const numbers = NUMBERS.filter((name) => this.field(name).value !== '');
    return {
      ...Object.fromEntries(numbers.map((name) => [name, Number(this.field(name).value)])),
      ...(stop.length > 0 && { stop }),
      ...this.format(),
    };
  }

  private format(): Sampling {
    const type = this.field('format').value;
    if (type === 'text') return {};
    if (type === 'json_object') return { response_format: { type } };
    const schema: unknown = JSON.parse(this.field('schema').value);
    // The API takes letters, digits, _ and - as a name.
    const title = isRecord(schema) ? textOf(schema['title']).replace(/[^\w-]+/g, '_') : '';
    const name = title.slice(0, 64) || 'answer';
    return { response_format: { type, json_schema: { name, schema, strict: true } } };
  }

  private stops(): string[] {
    const lines = this.field('stop').value.split('\n');
    return lines.filter((line) => line !== '').map(unescaped);
  }

  private field(name: Name): Field {
    const kind = KINDS.find((each) => byId(name) instanceof each);
    return elementOf<Field>(name, kind ?? HTMLInputElement);
  }

  private changed(name: Name): void {
    this.stored.write(Object.fromEntries(NAMES.map((each) => [each, this.field(each).value])));
    byId('schema-box').hidden = this.field('format').value !== 'json_schema';
    this.show(name, this.fault(name));
  }

  /** Whether there is a fault. */
  private show(name: Name, fault: string): boolean {
    const error = document.getElementById(`${name}-error`);
    if (error === null) return false;
    error.textContent = fault;
    error.hidden = fault === '';
    this.field(name).setAttribute('aria-invalid', String(fault !== ''));
    return fault !== '';
  }

  private fault(name: Name): string {
    const field = this.field(name);
    if (name === 'schema') {
      return this.field('format').value === 'json_schema' ? schemaFault(field.value) : '';
    }
    if (name === 'stop') return this.stops().length > 4 ? 'At most four lines.' : '';
    if (!(field instanceof HTMLInputElement) || field.validity.valid) return '';
    const label = field.labels?.[0]?.textContent.trim() ?? name;
    const kind = field.step === '1' ? 'a whole number' : 'a number';
    const range =
      field.max === '' || name === 'seed'
        ? `of at least ${field.min}`
        : `from ${field.min} to ${field.max}`;
    return `${label}: ${kind} ${range}.`;
  }
}

function schemaFault(text: string): string {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (error) {
    return `Not JSON: ${error instanceof Error ? error.message : String(error)}.`;
  }
  return isRecord(schema) ? '' : 'A JSON schema is an object, such as {"type": "object"}.';
}

/** `\n`, `\t` and `\\` of a line, as what they stand for. */
function unescaped(line: string): string {
  const meanings: Readonly<Record<string, string>> = { n: '\n', t: '\t', '\\': '\\' };
  return line.replace(/\\([nt\\])/g, (whole, letter: string) => meanings[letter] ?? whole);
}
