import { expect } from "chai";
import { checkName, checkToken, formatFunctionName, parseFunctionName } from "./names.ts";
import * as subjects from "./subjects.ts";

const ns = "openfaas-fn";
const long = "a".repeat(63);

/** One subject function, what it gives for good arguments, and the filters under which it is found. */
interface Case {
  readonly name: keyof typeof subjects;
  readonly call: (...args: string[]) => string;
  readonly args: readonly string[];
  /** Which of the arguments are tokens, so longer and with upper case; the others are names. */
  readonly tokens?: readonly number[];
  readonly gives: string;
  readonly foundBy?: readonly string[];
}

const withVerb = subjects.wishVerbs[0];

const cases: readonly Case[] = [
  {
    name: "invokeSubject",
    call: subjects.invokeSubject,
    args: [ns, "fn"],
    gives: "busker.invoke.openfaas-fn.fn",
    foundBy: [subjects.invokeAnyFilter],
  },
  {
    name: "invokeReplicaSubject",
    call: subjects.invokeReplicaSubject,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.invoke.openfaas-fn.fn.r-1",
    foundBy: [subjects.invokeFilter(ns, "fn"), subjects.invokeAnyFilter],
  },
  {
    name: "callInboxSubject",
    call: subjects.callInboxSubject,
    args: [ns, "fn", "r-1", "T1"],
    tokens: [2, 3],
    gives: "busker.invoke.openfaas-fn.fn.r-1.T1",
    foundBy: [subjects.callInboxFilter(ns, "fn", "r-1"), subjects.invokeFilter(ns, "fn"), subjects.invokeAnyFilter],
  },
  {
    name: "asyncSubject",
    call: subjects.asyncSubject,
    args: [ns, "fn"],
    gives: "busker.async.openfaas-fn.fn",
    foundBy: [subjects.asyncAnyFilter],
  },
  ...subjects.callStates.map((state) => ({
    name: "callSubject" as const,
    call: (namespace: string, name: string) => subjects.callSubject(state, namespace, name),
    args: [ns, "fn"],
    gives: `busker.call.${state}.openfaas-fn.fn`,
    foundBy: [
      subjects.callAnyFilter,
      subjects.callFilter(ns, "fn"),
      ...(state === "done"
        ? [subjects.callDoneFilter]
        : subjects.callStateFilters.filter((each) => each.includes(`.${state}.`))),
    ],
  })),
  ...subjects.priorities.map((priority) => ({
    name: "queueSubject" as const,
    call: (namespace: string, name: string) => subjects.queueSubject(namespace, name, priority),
    args: [ns, "fn"],
    gives: `busker.queue.openfaas-fn.fn.${priority}`,
    foundBy: [subjects.queueFilter(ns, "fn"), subjects.queueAnyFilter],
  })),
  {
    name: "outcomeSubject",
    call: subjects.outcomeSubject,
    args: [ns, "fn"],
    gives: "busker.outcome.openfaas-fn.fn",
    foundBy: [subjects.outcomeAnyFilter],
  },
  {
    name: "cancelSubject",
    call: subjects.cancelSubject,
    args: [ns, "fn"],
    gives: "busker.cancel.openfaas-fn.fn",
    foundBy: [subjects.cancelAnyFilter],
  },
  ...[...subjects.wishVerbs, ...subjects.outcomeVerbs].map((verb) => ({
    name: "functionSubject" as const,
    call: (namespace: string, name: string) => subjects.functionSubject(verb, namespace, name),
    args: [ns, "fn"],
    gives: `busker.function.${verb}.openfaas-fn.fn`,
    foundBy: [subjects.functionVerbFilter(verb), subjects.functionAnyFilter],
  })),
  {
    name: "functionProgressSubject",
    call: subjects.functionProgressSubject,
    args: [ns, "fn"],
    gives: "busker.function.progress.openfaas-fn.fn",
    foundBy: [subjects.functionProgressFilter, subjects.functionAnyFilter],
  },
  ...[...subjects.secretRequestVerbs, ...subjects.secretOutcomeVerbs].map((verb) => ({
    name: "secretSubject" as const,
    call: (namespace: string) => subjects.secretSubject(verb, namespace),
    args: [ns],
    gives: `busker.secret.${verb}.openfaas-fn`,
    foundBy: [
      subjects.secretVerbFilter(verb),
      ...subjects.secretOutcomeFilters.filter((each) => each.includes(`.${verb}.`)),
    ],
  })),
  ...subjects.replicaStates.map((state) => ({
    name: "replicaSubject" as const,
    call: (namespace: string, name: string, replica: string) =>
      subjects.replicaSubject(state, namespace, name, replica),
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: `busker.replica.${state}.openfaas-fn.fn.r-1`,
    foundBy: [subjects.replicaAnyFilter, subjects.replicaOwnFilter(ns, "fn", "r-1")],
  })),
  {
    name: "explainSubject",
    call: subjects.explainSubject,
    args: [ns, "fn"],
    gives: "busker.scaler.explain.openfaas-fn.fn",
    foundBy: [subjects.explainAnyFilter],
  },
  {
    name: "enrolSubject",
    call: subjects.enrolSubject,
    args: [ns, "fn"],
    gives: "busker.enrol.openfaas-fn.fn",
    foundBy: [subjects.enrolAnyFilter],
  },
  {
    name: "bundleSubject",
    call: subjects.bundleSubject,
    args: [ns, "fn"],
    gives: "busker.bundle.openfaas-fn.fn",
    foundBy: [subjects.bundleAnyFilter],
  },
  {
    name: "demandSubject",
    call: subjects.demandSubject,
    args: [ns, "fn"],
    gives: "busker.demand.openfaas-fn.fn",
    foundBy: [subjects.demandAnyFilter],
  },
  {
    name: "metricSubject",
    call: subjects.metricSubject,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.metric.openfaas-fn.fn.r-1",
    foundBy: [subjects.metricFilter(ns, "fn"), subjects.metricAnyFilter],
  },
  {
    name: "loadSubject",
    call: subjects.loadSubject,
    args: [ns, "fn"],
    gives: "busker.load.openfaas-fn.fn",
    foundBy: [subjects.loadAnyFilter],
  },
  {
    name: "logSubject",
    call: subjects.logSubject,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.log.openfaas-fn.fn.r-1",
    foundBy: [subjects.logFilter(ns, "fn"), subjects.logFilter(ns, "fn", "r-1"), subjects.logAnyFilter],
  },
  {
    name: "keptPartsSubject",
    call: subjects.keptPartsSubject,
    args: [ns, "fn", "s1"],
    tokens: [2],
    gives: "busker.stream.openfaas-fn.fn.s1",
    foundBy: [subjects.keptFilter(ns, "fn"), subjects.keptPartsAnyFilter],
  },
  {
    name: "keptHeadSubject",
    call: subjects.keptHeadSubject,
    args: [ns, "fn", "s1"],
    tokens: [2],
    gives: "busker.stream.openfaas-fn.fn.s1.head",
    foundBy: [subjects.keptFilter(ns, "fn"), subjects.keptHeadAnyFilter],
  },
  { name: "keptFilter", call: subjects.keptFilter, args: [ns, "fn"], gives: "busker.stream.openfaas-fn.fn.>" },
  {
    name: "replicaControlSubject",
    call: subjects.replicaControlSubject,
    args: ["r-1"],
    tokens: [0],
    gives: "busker.replica-control.r-1",
    foundBy: [subjects.replicaControlAnyFilter],
  },
  {
    name: "replicaOrderSubject",
    call: subjects.replicaOrderSubject,
    args: ["r-1"],
    tokens: [0],
    gives: "busker.replica-order.r-1",
  },
  { name: "callFilter", call: subjects.callFilter, args: [ns, "fn"], gives: "busker.call.*.openfaas-fn.fn" },
  { name: "queueFilter", call: subjects.queueFilter, args: [ns, "fn"], gives: "busker.queue.openfaas-fn.fn.*" },
  { name: "invokeFilter", call: subjects.invokeFilter, args: [ns, "fn"], gives: "busker.invoke.openfaas-fn.fn.>" },
  {
    name: "replicaOwnFilter",
    call: subjects.replicaOwnFilter,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.replica.*.openfaas-fn.fn.r-1",
  },
  { name: "metricFilter", call: subjects.metricFilter, args: [ns, "fn"], gives: "busker.metric.openfaas-fn.fn.*" },
  { name: "logFilter", call: subjects.logFilter, args: [ns, "fn"], gives: "busker.log.openfaas-fn.fn.*" },
  {
    name: "logFilter",
    call: subjects.logFilter,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.log.openfaas-fn.fn.r-1",
  },
  {
    name: "callStateFilter",
    call: () => subjects.callStateFilter("succeeded"),
    args: [],
    gives: "busker.call.succeeded.*.*",
  },
  {
    name: "functionVerbFilter",
    call: () => subjects.functionVerbFilter(withVerb),
    args: [],
    gives: "busker.function.deploy.*.*",
  },
  {
    name: "secretVerbFilter",
    call: () => subjects.secretVerbFilter("created"),
    args: [],
    gives: "busker.secret.created.*",
  },
];

/** Those whose last argument is a call id, which may be any text. */
const callIdCases: readonly { readonly name: string; readonly call: (id: string) => string; readonly gives: string }[] =
  [
    { name: "resultSubject", call: subjects.resultSubject, gives: "busker.result.ID" },
    { name: "partsSubject", call: (id) => subjects.partsSubject(id, 2), gives: "busker.part.ID.2" },
    {
      name: "recordedSubject",
      call: (id) => subjects.recordedSubject(ns, "fn", id),
      gives: "busker.recorded.openfaas-fn.fn.ID",
    },
    {
      name: "recordedFilter",
      call: () => subjects.recordedFilter(ns, "fn"),
      gives: "busker.recorded.openfaas-fn.fn.*",
    },
    { name: "recordedCallFilter", call: subjects.recordedCallFilter, gives: "busker.recorded.*.*.ID" },
    { name: "deadSubject", call: (id) => subjects.deadSubject(ns, "fn", id), gives: "busker.dead.openfaas-fn.fn.ID" },
    { name: "deadFilter", call: () => subjects.deadFilter(ns, "fn"), gives: "busker.dead.openfaas-fn.fn.*" },
    { name: "deadCallFilter", call: subjects.deadCallFilter, gives: "busker.dead.*.*.ID" },
  ];

/** Call ids, and what they are as one token of a subject. */
const callIds = [
  ["0d9c6c2e-5f0e-4b7c", "0d9c6c2e-5f0e-4b7c"],
  ["urn:uuid:1", "urn=3auuid=3a1"],
  ["a.b > *", "a=2eb=20=3e=20=2a"],
  ["a=2eb", "a=3d2eb"],
  ["é\r\n", "=c3=a9=0d=0a"],
  ["\ud800", "=ef=bf=bd"],
] as const;

const replyCases: readonly Case[] = [
  {
    name: "callInboxFilter",
    call: subjects.callInboxFilter,
    args: [ns, "fn", "r-1"],
    tokens: [2],
    gives: "busker.invoke.openfaas-fn.fn.r-1.*",
  },
  { name: "inboxPrefix", call: subjects.inboxPrefix, args: ["gateway"], tokens: [0], gives: "_BUSKER.gateway" },
  { name: "inboxFilter", call: subjects.inboxFilter, args: ["gateway"], tokens: [0], gives: "_BUSKER.gateway.>" },
  {
    name: "answerSubject",
    call: subjects.answerSubject,
    args: ["gateway", "t1"],
    tokens: [0, 1],
    gives: "_BUSKER.gateway.answer.t1",
  },
  {
    name: "callReplyPrefix",
    call: subjects.callReplyPrefix,
    args: ["gateway", ns, "fn"],
    tokens: [0],
    gives: "_BUSKER.gateway.call.openfaas-fn.fn",
  },
  {
    name: "callReplyOwnFilter",
    call: subjects.callReplyOwnFilter,
    args: ["gateway", "c1"],
    tokens: [0, 1],
    gives: "_BUSKER.gateway.call.*.*.c1.*",
  },
  {
    name: "callReplyFilter",
    call: subjects.callReplyFilter,
    args: [ns, "fn"],
    gives: "_BUSKER.*.call.openfaas-fn.fn.>",
  },
];

const all = [...cases, ...replyCases];

// What would make another subject of it, or a subject that the server refuses.
const hostile = [
  "",
  "a.b",
  "a b",
  " a",
  "a\t",
  "*",
  ">",
  "a.>",
  "a*",
  "é",
  "a\u0000",
  "a\r\nPUB x 0",
  "$JS",
  "😀",
  "ａ",
  "a/b",
];
const notNames = [...hostile, `${long}a`, "A", "aB", "a_b", "-a", "a-", "-"];
const notTokens = [...hostile, "a".repeat(129)];

const isChecked = (each: Case): boolean =>
  each.args.length > 0 && !(each.name === "logFilter" && each.args.length === 2);

describe("callToken()", () => {
  for (const [id, token] of callIds)
    it(`makes ${JSON.stringify(id)} the one token ${token}, because ids come from anybody`, () => {
      for (const { call, gives, name } of callIdCases) {
        const subject = call(id);
        expect(subject, name).to.equal(gives.replace("ID", token));
        expect(subject.split(".").length, name).to.equal(gives.split(".").length);
      }
    });

  for (const [id, token] of callIds)
    it(`makes a token that parseCallToken() reads: ${JSON.stringify(id)}`, () =>
      expect(subjects.callToken(subjects.parseCallToken(token))).to.equal(token));

  it("makes no token that parseCallToken() refuses", () =>
    expect(() => subjects.parseCallToken("=zz"))
      .to.throw(/no call id/)
      .with.property("code", "invalid_request"));

  for (const id of ["", "a".repeat(129)])
    it(`refuses an id of ${id.length} characters`, () =>
      expect(() => subjects.callToken(id))
        .to.throw(/1 to 128 characters/)
        .with.property("code", "invalid_request"));
});

describe("parsePartsSubject()", () => {
  it("gives the parts of what partsSubject() made", () => {
    expect(subjects.parsePartsSubject(subjects.partsSubject("a.b", 3))).to.deep.equal({ token: "a=2eb", attempt: 3 });
    expect(subjects.parsePartsSubject(subjects.resultSubject("a"))).to.equal(undefined);
  });
});

describe("subjects", () => {
  it("have every subject function of the module in these tables, so that a new one cannot be forgotten", () => {
    const inTables = new Set<string>([...all, ...callIdCases].map(({ name }) => name));
    const functions = Object.entries(subjects).filter(
      ([name, value]) => typeof value === "function" && /(Subject|Filter|Prefix)$/.test(name),
    );
    const others = [
      "parseReplicaSubject",
      "parseQueueSubject",
      "parseMetricSubject",
      "parsePartsSubject",
      "parseFunctionSubject",
      "isReplySubject",
      "isAnswerSubject",
    ];
    expect(
      functions.map(([name]) => name).filter((name) => !inTables.has(name) && !others.includes(name)),
    ).to.deep.equal([]);
  });

  for (const each of all) {
    it(`${each.name}(${each.args.join(", ")}) gives ${each.gives}`, () =>
      expect(each.call(...each.args)).to.equal(each.gives));

    for (const filter of each.foundBy ?? [])
      it(`${each.name}() is found by ${filter} and by everything of the platform`, () => {
        expect(subjects.isSubjectMatch(filter, each.gives)).to.equal(true);
        expect(subjects.isSubjectMatch(subjects.platformAnyFilter, each.gives)).to.equal(true);
      });

    if (isChecked(each))
      it(`${each.name}() refuses every hostile argument in every place, because it would make another subject`, () => {
        each.args.forEach((_, at) => {
          const isToken = each.tokens?.includes(at) ?? false;
          for (const bad of isToken ? notTokens : notNames) {
            // The one wildcard that a filter takes on purpose.
            if (each.name === "logFilter" && bad === "*") continue;
            const args = each.args.with(at, bad);
            expect(() => each.call(...args), JSON.stringify(args))
              .to.throw()
              .with.property("code", "invalid_request");
          }
          const longest = isToken ? "A_-9".repeat(32) : long;
          expect(each.call(...each.args.with(at, longest))).to.contain(longest);
        });
      });
  }

  it("keep kinds apart: no subject is found by another kind's filter", () => {
    const kinds = cases.filter(({ foundBy }) => foundBy !== undefined);
    for (const one of kinds)
      for (const other of kinds) {
        const kind = (each: Case): string => each.gives.split(".")[1] ?? "";
        if (kind(one) === kind(other)) continue;
        for (const filter of other.foundBy ?? [])
          expect(subjects.isSubjectMatch(filter, one.gives), `${filter} ${one.gives}`).to.equal(false);
      }
  });
});

describe("isSubjectMatch()", () => {
  const table: readonly (readonly [string, string, boolean])[] = [
    ["a.b", "a.b", true],
    ["a.b", "a.c", false],
    ["a.b", "a", false],
    ["a.b", "a.b.c", false],
    ["a.*", "a.b", true],
    ["a.*", "a", false],
    ["a.*", "a.b.c", false],
    ["*.b", "a.b", true],
    ["a.>", "a.b", true],
    ["a.>", "a.b.c.d", true],
    ["a.>", "a", false],
    [">", "a", true],
    [">", "a.b", true],
    ["a.*.c", "a.b.c", true],
    ["a.*.c", "a.b.d", false],
    ["*.>", "a.b", true],
    ["*.>", "a", false],
  ];
  for (const [filter, subject, expected] of table)
    it(`says ${String(expected)} for ${subject} under ${filter}, as the server does`, () =>
      expect(subjects.isSubjectMatch(filter, subject)).to.equal(expected));
});

describe("parseReplicaSubject()", () => {
  it("gives the parts of what replicaSubject() made", () => {
    for (const state of subjects.replicaStates)
      expect(subjects.parseReplicaSubject(subjects.replicaSubject(state, ns, "fn", "r-1"))).to.deep.equal({
        state,
        namespace: ns,
        name: "fn",
        replica: "r-1",
      });
  });
  for (const subject of [
    "",
    "busker",
    "busker.replica.ready.ns.fn",
    "busker.replica.odd.ns.fn.r",
    "other.replica.ready.ns.fn.r",
    "busker.invoke.ready.ns.fn.r",
    "busker.replica.ready..fn.r",
  ])
    it(`gives undefined for ${JSON.stringify(subject)}, because it is none`, () =>
      expect(subjects.parseReplicaSubject(subject)).to.equal(undefined));
});

describe("parseMetricSubject()", () => {
  it("gives the function and the source of what metricSubject() made", () =>
    expect(subjects.parseMetricSubject(subjects.metricSubject(ns, "fn", "gateway-1"))).to.deep.equal({
      namespace: ns,
      name: "fn",
      source: "gateway-1",
    }));
  for (const subject of ["", "busker.metric", "busker.metric.ns.fn", "busker.log.ns.fn.r", "other.metric.ns.fn.r"])
    it(`gives undefined for ${JSON.stringify(subject)}, because it is none`, () =>
      expect(subjects.parseMetricSubject(subject)).to.equal(undefined));
});

describe("parseFunctionSubject()", () => {
  it("gives namespace and name after as many tokens as are skipped", () => {
    expect(subjects.parseFunctionSubject("busker.async.ns.fn", 1)).to.deep.equal({ namespace: "ns", name: "fn" });
    expect(subjects.parseFunctionSubject("busker.function.deploy.ns.fn", 2)).to.deep.equal({
      namespace: "ns",
      name: "fn",
    });
  });
  for (const subject of ["", "busker.async", "busker.async.ns", "other.async.ns.fn", "busker.async..fn"])
    it(`gives undefined for ${JSON.stringify(subject)}, because a part is missing`, () =>
      expect(subjects.parseFunctionSubject(subject, 1)).to.equal(undefined));
});

describe("isReplySubject()", () => {
  const table: readonly (readonly [string, boolean])[] = [
    ["_INBOX.abc.1", true],
    [`${subjects.callReplyPrefix("gateway", ns, "fn")}.c1.1`, true],
    ["_BUSKER.gateway.abc.1", false],
    ["$KV.functions.x", false],
    ["$JS.API.STREAM.PURGE.LOGS", false],
    ["busker.function.deploy.ns.fn", false],
    ["x_INBOX.a", false],
    ["_BUSKER.a.b.call.x", false],
    ["", false],
  ];
  for (const [subject, expected] of table)
    it(`says ${String(expected)} for ${JSON.stringify(subject)}`, () =>
      expect(subjects.isReplySubject(subject)).to.equal(expected));
});

describe("isAnswerSubject()", () => {
  const table: readonly (readonly [string, boolean])[] = [
    ["_INBOX.abc.1", true],
    [subjects.answerSubject("gateway", "abc"), true],
    [`${subjects.callReplyPrefix("gateway", ns, "fn")}.c1.1`, false],
    ["_BUSKER.gateway.abc.1", false],
    ["_BUSKER.gateway.answer.a.b", false],
    ["$KV.secrets.x", false],
    ["", false],
  ];
  for (const [subject, expected] of table)
    it(`says ${String(expected)} for ${JSON.stringify(subject)}`, () =>
      expect(subjects.isAnswerSubject(subject)).to.equal(expected));
});

describe("names", () => {
  for (const name of ["a", "a1", "1", "a-b", long])
    it(`checkName() takes ${name}`, () => expect(checkName("name", name)).to.equal(name));
  for (const name of [...notNames, undefined, null, 7, {}])
    it(`checkName() refuses ${JSON.stringify(name)} and names the field, the rule and the value`, () => {
      expect(() => checkName("function name", name)).to.throw(/^function name must be 1 to 63 characters.*; got /);
    });
  it("checkToken() refuses by its own rule", () => {
    expect(() => checkToken("call id", "a.b")).to.throw(
      'call id must be 1 to 128 characters of A-Z, a-z, 0-9, _ and -; got "a.b"',
    );
  });
  it("parseFunctionName() splits on the last dot and puts the default namespace where there is none", () => {
    expect(parseFunctionName("fn")).to.deep.equal({ namespace: ns, name: "fn" });
    expect(parseFunctionName("fn.dev")).to.deep.equal({ namespace: "dev", name: "fn" });
    expect(formatFunctionName(parseFunctionName("fn.dev"))).to.equal("fn.dev");
  });
  for (const text of ["", ".", "fn.", ".ns", "a.b.c", "fn.Dev", "Fn", "a b", "fn.*"])
    it(`parseFunctionName() refuses ${JSON.stringify(text)}`, () =>
      expect(() => parseFunctionName(text))
        .to.throw()
        .with.property("code", "invalid_request"));
});
