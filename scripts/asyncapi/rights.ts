import { isSubjectMatch } from "../../schemas/subjects.ts";
import {
  enrolPermissions,
  type Permissions,
  platformPermissions,
  replicaPermissions,
} from "../../services/bus/permissions.ts";
import { standIns, toAddress } from "./channels.ts";

const replica = replicaPermissions({
  namespace: standIns.namespace,
  name: standIns.function,
  replica: standIns.replica,
});

const enrolling = enrolPermissions({ namespace: standIns.namespace, name: standIns.function, user: standIns.user });

const users: Readonly<Record<string, Permissions>> = { ...platformPermissions, replica, enrolling };

// A queue group may stand behind a subject in a right to subscribe.
const allows = (rights: readonly string[], subject: string): boolean =>
  rights.some((right) => isSubjectMatch(right.split(" ")[0] ?? "", subject));

// A reply subject names the user whose it is; whoever receives there is that user.
const asOwn = (subject: string, user: string): string =>
  subject.replace(standIns.user, user === "replica" ? standIns.replica : user);

/** The users that may publish to a subject, and those that may subscribe to it. */
export const usersOf = (
  subject: string,
): { readonly publish: readonly string[]; readonly subscribe: readonly string[] } => {
  const names = Object.entries(users);
  return {
    publish: names
      .filter(([, { publish, denyPublish = [] }]) => allows(publish, subject) && !allows(denyPublish, subject))
      .map(([user]) => user),
    subscribe: names.filter(([user, { subscribe }]) => allows(subscribe, asOwn(subject, user))).map(([user]) => user),
  };
};

/** What every user may do, as its JWT says. */
export const allRights: Readonly<Record<string, Permissions>> = Object.fromEntries(
  Object.entries(users).map(([user, { publish, subscribe, denyPublish }]) => [
    user,
    {
      publish: publish.map(toAddress),
      ...(denyPublish === undefined ? {} : { denyPublish: denyPublish.map(toAddress) }),
      subscribe: subscribe.map(toAddress),
    },
  ]),
);
