import * as fc from "fast-check";
import { expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { NO_EXPERT } from "../cache/shape.ts";
import { RecencyOrder } from "./recency-order.ts";

test("is what arrays of keys would be, whatever happened before", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomNumbers(seed);
      const pick = (n: number) => Math.floor(random() * n);
      const order = new RecencyOrder(6, 3);
      const lists: number[][] = [[], [], []];
      const without = (key: number) => {
        for (const list of lists) if (list.includes(key)) list.splice(list.indexOf(key), 1);
      };
      for (let step = 0; step < 60; step++) {
        const key = pick(6);
        const list = pick(3);
        const action = pick(4);
        if (action < 2) {
          without(key);
          lists[list]?.push(key);
          order.touch(key, list);
        } else if (action === 2) {
          without(key);
          order.remove(key);
        } else {
          const to = (list + 1) % 3;
          lists[to]?.push(...(lists[list]?.splice(0) ?? []));
          order.append(list, to);
        }
        lists.forEach((expected, i) => {
          const found: number[] = [];
          for (let at = order.oldest(i); at !== NO_EXPERT; at = order.newerThan(at)) found.push(at);
          expect(found).toEqual(expected);
        });
        for (let i = 0; i < 6; i++) expect(order.has(i)).toBe(lists.some((held) => held.includes(i)));
      }
    }),
  );
});
