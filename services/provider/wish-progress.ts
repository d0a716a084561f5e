import { formatFunctionName } from "../../schemas/names.ts";
import { functionProgressSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { publishEvent } from "../bus/events.ts";
import type { Log } from "../runtime/log.ts";
import type { Wish } from "./apply-wish.ts";

/**
 * Makes what tells the bus how far a wish is. Without waiting: the next one comes in a second, and the outcome is
 * published durably.
 */
export const createProgressTeller =
  (bus: Bus, log: Log) =>
  (wish: Wish, message: string): void => {
    log.info(message, { function: formatFunctionName(wish) });
    publishEvent(bus, {
      subject: functionProgressSubject(wish.namespace, wish.name),
      type: "io.busker.function.progress",
      data: { wish: wish.id, message },
    });
  };
