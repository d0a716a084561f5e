/** A place in a line, to leave it by. */
export interface Place<T> {
  readonly item: T;
  previous: Place<T> | undefined;
  next: Place<T> | undefined;
  inLine: boolean;
}

/** A waiting line, first in first out, that anybody may leave from any place, each in constant time. */
export class Line<T> {
  #head: Place<T> | undefined;
  #tail: Place<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Who has waited longest. */
  get first(): T | undefined {
    return this.#head?.item;
  }

  /** Joins at the end. */
  push(item: T): Place<T> {
    const place: Place<T> = { item, previous: this.#tail, next: undefined, inLine: true };
    if (this.#tail) this.#tail.next = place;
    else this.#head = place;
    this.#tail = place;
    this.#length += 1;
    return place;
  }

  /** Joins at the head: for one who was already served in vain. */
  unshift(item: T): Place<T> {
    const place: Place<T> = { item, previous: undefined, next: this.#head, inLine: true };
    if (this.#head) this.#head.previous = place;
    else this.#tail = place;
    this.#head = place;
    this.#length += 1;
    return place;
  }

  /** Takes who has waited longest out of the line. */
  shift(): T | undefined {
    const place = this.#head;
    if (place) this.leave(place);
    return place?.item;
  }

  /** Leaves the line; false when not in it any more. */
  leave(place: Place<T>): boolean {
    if (!place.inLine) return false;
    if (place.previous) place.previous.next = place.next;
    else this.#head = place.next;
    if (place.next) place.next.previous = place.previous;
    else this.#tail = place.previous;
    place.inLine = false;
    this.#length -= 1;
    return true;
  }

  /** Everybody in line, longest waiting first; the line is not changed. */
  *[Symbol.iterator](): Iterator<T> {
    for (let place = this.#head; place; place = place.next) yield place.item;
  }
}
