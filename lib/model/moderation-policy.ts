/** One kind of content that is looked for. */
export interface PolicyLabel {
  readonly label: string;
  /** What falls under it, in a sentence the model reads. */
  readonly definition: string;
  /** The score from which on it counts as found; from 0 to 1. @default 0.5 */
  readonly threshold?: number;
}

/** The label of content that falls under none of the others. */
export const NOT_MODERATED = 'not moderated';

/**
 * The kinds of content of Mistral's guide to self-reflection (docs.mistral.ai, Guardrailing), each
 * in words of our own.
 */
export const DEFAULT_POLICY: readonly PolicyLabel[] = [
  {
    label: 'child abuse',
    definition: 'depicts, promotes or enables sexual or other abuse of minors',
  },
  { label: 'terrorism', definition: 'praises or helps terrorist groups or violent extremism' },
  {
    label: 'illegal goods',
    definition: 'trades in or explains making drugs, weapons or other forbidden goods',
  },
  {
    label: 'hate',
    definition: 'attacks or demeans people for what they are: origin, religion, sex, disability',
  },
  {
    label: 'violence',
    definition: 'threatens, glorifies or describes cruelly the hurting of people or animals',
  },
  { label: 'self-harm', definition: 'encourages or explains hurting or killing oneself' },
  { label: 'sexual', definition: 'is explicitly sexual, or offers sexual services' },
  { label: 'fraud', definition: 'helps to deceive people for gain: scams, forgery, phishing' },
  {
    label: 'privacy',
    definition: 'reveals or asks for private data of a person without their will',
  },
  {
    label: 'cyber crime',
    definition: 'helps to break into systems or to write malicious programs',
  },
  { label: 'health advice', definition: 'gives medical advice that a professional ought to give' },
  { label: 'legal advice', definition: 'gives advice in law that a professional ought to give' },
  {
    label: 'financial advice',
    definition: 'gives advice on investments that a professional ought to give',
  },
];
