/**
 * Text to tokens and back with the model's own tokeniser, and the special tokens. Pieces are bytes, since a token may
 * end in the middle of a character; `TokenDecoder` joins a stream of tokens to text.
 */
import koffi from "koffi";
import type { LlamaFunctions } from "./functions.ts";
import { NativeHandle } from "./handle.ts";
import type { NativePointer } from "./structs.ts";

export interface TokenizeOptions {
  /** Add the begin and end tokens that the model asks for. Default true. */
  readonly addSpecial?: boolean;
  /** Turn text like `<|end|>` into the control token. Off for text from strangers. Default false. */
  readonly parseSpecial?: boolean;
}

export interface DetokenizeOptions {
  /** Write control tokens as their text instead of leaving them out. Default false. */
  readonly special?: boolean;
}

export class Vocabulary {
  /** Number of tokens. */
  readonly size: number;
  /** Begin of sequence, end of sequence, end of turn; undefined where the model has none. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly eot: number | undefined;
  /** Whether `addSpecial` puts `bos` in front, and `eos` behind. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  /** Tokens that the model's file says must never be sampled. */
  readonly suppressed: readonly number[];
  readonly handle: NativeHandle;
  readonly #llama: LlamaFunctions;
  readonly #pieces: [plain: (Uint8Array | undefined)[], special: (Uint8Array | undefined)[]] = [[], []];
  #buffer = Buffer.alloc(256);

  /** Use `Model.vocabulary`. */
  constructor(llama: LlamaFunctions, address: NativePointer, model: NativeHandle) {
    this.#llama = llama;
    this.handle = new NativeHandle("vocabulary", address, () => {}, model); // freed with the model
    const token = (id: number) => (id < 0 ? undefined : id);
    this.size = llama.llama_vocab_n_tokens(address);
    this.bos = token(llama.llama_vocab_bos(address));
    this.eos = token(llama.llama_vocab_eos(address));
    this.eot = token(llama.llama_vocab_eot(address));
    this.addsBos = llama.llama_vocab_get_add_bos(address);
    this.addsEos = llama.llama_vocab_get_add_eos(address);
    const count = new Int32Array(1);
    const suppressed = llama.llama_vocab_get_suppress_tokens(address, count);
    this.suppressed = suppressed === null ? [] : [...new Int32Array(koffi.view(suppressed, count[0] * 4))];
  }

  /** Tokens of `text`. */
  tokenize(text: string, options: TokenizeOptions = {}): Int32Array {
    const { addSpecial = true, parseSpecial = false } = options;
    const bytes = Buffer.from(text);
    const address = this.handle.address;
    let tokens = new Int32Array(bytes.length + 2); // a token has at least a byte, plus begin and end
    for (;;) {
      const count = this.#llama.llama_tokenize(
        address,
        bytes,
        bytes.length,
        tokens,
        tokens.length,
        addSpecial,
        parseSpecial,
      );
      if (count >= 0) return tokens.slice(0, count);
      if (count === -0x80000000) throw new RangeError("The text has more than 2^31 tokens");
      tokens = new Int32Array(-count); // some tokenisers insert tokens, such as a space in front
    }
  }

  /**
   * The bytes of one token, which need not be whole characters. The array is kept and shared: do not write to it.
   * @throws RangeError if there is no such token
   */
  piece(token: number, options: DetokenizeOptions = {}): Uint8Array {
    const special = options.special ?? false;
    const pieces = this.#pieces[special ? 1 : 0];
    const known = pieces[token];
    if (known !== undefined) return known;
    if (!Number.isInteger(token) || token < 0 || token >= this.size) throw new RangeError(`There is no token ${token}`);
    const address = this.handle.address;
    let length = this.#llama.llama_token_to_piece(address, token, this.#buffer, this.#buffer.length, 0, special);
    if (length < 0) {
      this.#buffer = Buffer.alloc(-length);
      length = this.#llama.llama_token_to_piece(address, token, this.#buffer, this.#buffer.length, 0, special);
    }
    const piece = Uint8Array.from(this.#buffer.subarray(0, length));
    pieces[token] = piece;
    return piece;
  }

  /**
   * Text of a whole sequence, piece by piece. Not by llama_detokenize, which tidies away spaces before punctuation (" ," is
   * "," there) and so is no inverse of `tokenize`. A space that the tokeniser itself put in front stays.
   */
  detokenize(tokens: Int32Array | readonly number[], options: DetokenizeOptions = {}): string {
    return Buffer.concat(Array.from(tokens, (token) => this.piece(token, options))).toString();
  }

  /** Whether generation ends with this token (end of sequence, of turn, of message). */
  isEndOfGeneration(token: number): boolean {
    return this.#llama.llama_vocab_is_eog(this.handle.address, token);
  }

  /** Whether the token is a control token, which has no text of its own. */
  isControl(token: number): boolean {
    return this.#llama.llama_vocab_is_control(this.handle.address, token);
  }

  /** How the vocabulary spells a token, such as `<|end|>`; not its text. */
  spelling(token: number): string {
    return this.#llama.llama_vocab_get_text(this.handle.address, token);
  }
}

/** Joins tokens to text as they come, holding bytes back until a character is complete. */
export class TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #options: DetokenizeOptions;
  // ignoreBOM: a byte order mark inside generated text is a character like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(vocabulary: Vocabulary, options: DetokenizeOptions = {}) {
    this.#vocabulary = vocabulary;
    this.#options = options;
  }

  /** The text that `token` completes, possibly none. Bytes that are no UTF-8 become U+FFFD. */
  push(token: number): string {
    return this.#decoder.decode(this.#vocabulary.piece(token, this.#options), { stream: true });
  }

  /** The end of the text: U+FFFD if a character stayed incomplete, else nothing. The decoder can then start anew. */
  flush(): string {
    return this.#decoder.decode();
  }
}
