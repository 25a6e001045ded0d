------------------------------ MODULE Journal -------------------------------
(***************************************************************************)
(* Transactions too large for one TransactWriteItems: a journal in the     *)
(* head, carried out in steps by whoever finds it. ../architecture.md,     *)
(* "A write".                                                              *)
(*                                                                         *)
(* Operation k writes k to the nodes "x" and "y": in one transaction, or   *)
(* in two steps after one that puts the journal into the head. Which of    *)
(* the two can differ from try to try, because batches are composed anew.  *)
(* Queue and answers are in Commit.tla; here an instance goes on from the  *)
(* watermark.                                                              *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Sequencers,
    N,               \* operations
    MaxFailures,     \* instances killed, or answers lost
    Broken

Nodes == {"x", "y"}
Steps == <<"x", "y">>
NoJournal == [of |-> 0, by |-> "nobody"]
Unread == N + 1
Nobody == "nobody"

VARIABLES
    node, head,    \* what plain reads return; head: zxid, keys, journal and its next step
    transactions,  \* decided, not all visible yet
    calls,         \* TransactWriteItems on their way
    seq,           \* the instances
    log,           \* history: [op, saw] in the order in which they could no longer be stopped
    failures

vars == <<node, head, transactions, calls, seq, log, failures>>

Locked == UNION {t.pending : t \in transactions}
Blank == [n \in Nodes |-> Unread]
Nowhere == [zxid |-> 0, keys |-> {}, journal |-> NoJournal, step |-> 1]
Idle == [pc |-> "start", snapshot |-> Blank, head |-> Nowhere]

Init ==
    /\ node = [n \in Nodes |-> 0]
    /\ head = Nowhere
    /\ transactions = {} /\ calls = {}
    /\ seq = [i \in Sequencers |-> Idle]
    /\ log = <<>>
    /\ failures = 0

\* What an instance does next with a head that it knows to be complete.
Onwards(s, h) ==
    [s EXCEPT !.head = h, !.snapshot = Blank,
              !.pc = IF h.journal # NoJournal THEN "step" ELSE "load"]

\* Confirms what the head names: the last transaction's items, or those of the journal's last step.
Named(h) == {"head"} \cup IF h.journal = NoJournal THEN h.keys ELSE {Steps[k] : k \in 1..h.step - 1}

Start(i) ==
    /\ seq[i].pc = "start"
    /\ head.zxid < N
    /\ \/ Locked \cap Named(head) = {}
       \/ Broken = "carryOnUnconfirmed" /\ head.journal # NoJournal
    /\ seq' = [seq EXCEPT ![i] = Onwards(@, head)]
    /\ UNCHANGED <<node, head, transactions, calls, log, failures>>

Load(i) ==
    LET n == IF seq[i].snapshot["x"] = Unread THEN "x" ELSE "y"
    IN
    /\ seq[i].pc = "load"
    /\ seq[i].snapshot[n] = Unread
    /\ seq' = [seq EXCEPT ![i].snapshot[n] = node[n]]
    /\ UNCHANGED <<node, head, transactions, calls, log, failures>>

Call(i, c) ==
    /\ calls' = calls \cup {[by |-> i] @@ c}
    /\ seq' = [seq EXCEPT ![i].pc = "wait"]
    /\ UNCHANGED <<node, head, transactions, log, failures>>

\* In one transaction, or by opening a journal: both only if the head is the one known, and has no journal.
Commit(i) ==
    LET s == seq[i]
        op == s.head.zxid + 1
        entry == [op |-> op, saw |-> s.snapshot]
    IN
    /\ s.pc = "load"
    /\ \A n \in Nodes : s.snapshot[n] # Unread
    /\ \/ Call(i, [expect |-> s.head, nodes |-> Nodes, entry |-> <<entry>>, op |-> op,
                   head |-> [zxid |-> op, keys |-> Nodes, journal |-> NoJournal, step |-> 1]])
       \/ Call(i, [expect |-> s.head, nodes |-> {}, entry |-> <<entry>>, op |-> op,
                   head |-> [s.head EXCEPT !.journal = [of |-> op, by |-> i],
                                           !.zxid = IF Broken = "zxidFirst" THEN op ELSE @]])

\* The next step, only if it is the next. The zxid moves with the last one, which takes the journal out.
Step(i) ==
    LET h == seq[i].head
        last == h.step = Len(Steps)
    IN
    /\ seq[i].pc = "step"
    /\ Call(i, [expect |-> h, nodes |-> {Steps[h.step]}, entry |-> <<>>, op |-> h.journal.of,
                head |-> IF last
                         THEN [zxid |-> h.journal.of, keys |-> {Steps[h.step]}, journal |-> NoJournal, step |-> 1]
                         ELSE [h EXCEPT !.step = @ + 1]])

Holds(c) ==
    /\ \/ head.zxid = c.expect.zxid
       \/ c.expect.journal # NoJournal
    /\ \/ head.journal = c.expect.journal
       \/ Broken = "commitBeside" /\ c.expect.journal = NoJournal
    /\ head.step = c.expect.step \/ Broken = "commitBeside"

Decide ==
    \E c \in calls :
        LET items == c.nodes \cup {"head"}
            ok == Locked \cap items = {} /\ Holds(c)
        IN
        /\ calls' = calls \ {c}
        /\ transactions' = IF ok
                           THEN transactions \cup {[by |-> c.by, pending |-> items, op |-> c.op, head |-> c.head]}
                           ELSE transactions
        /\ log' = IF ok THEN log \o c.entry ELSE log
        /\ seq' = IF ok \/ c.by = Nobody THEN seq ELSE [seq EXCEPT ![c.by] = Idle]
        /\ UNCHANGED <<node, head, failures>>

Show ==
    \E t \in transactions : \E item \in t.pending :
        LET left == t.pending \ {item}
        IN
        /\ IF item = "head" THEN head' = t.head /\ UNCHANGED node ELSE node' = [node EXCEPT ![item] = t.op] /\ UNCHANGED head
        /\ transactions' = (transactions \ {t}) \cup IF left = {} THEN {} ELSE {[t EXCEPT !.pending = left]}
        /\ seq' = IF left = {} /\ t.by # Nobody THEN [seq EXCEPT ![t.by] = IF t.head.zxid = N THEN Idle ELSE Onwards(@, t.head)] ELSE seq
        /\ UNCHANGED <<calls, log, failures>>

\* The instance dies, or only its call's answer is lost; the call goes its way.
Orphan(S, i) == {IF c.by = i THEN [c EXCEPT !.by = Nobody] ELSE c : c \in S}

Fail(i) ==
    /\ seq[i].pc # "start"
    /\ failures < MaxFailures /\ failures' = failures + 1
    /\ seq' = [seq EXCEPT ![i] = Idle]
    /\ calls' = Orphan(calls, i)
    /\ transactions' = Orphan(transactions, i)
    /\ UNCHANGED <<node, head, log>>

Done == head.zxid = N /\ transactions = {} /\ calls = {} /\ \A i \in Sequencers : seq[i].pc = "start"

Next ==
    \/ \E i \in Sequencers : Start(i) \/ Load(i) \/ Commit(i) \/ Step(i) \/ Fail(i)
    \/ Decide \/ Show
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

Symmetry == Permutations(Sequencers)

-----------------------------------------------------------------------------
\* Z1, Z2: each operation once, in order, each on the whole effects of those before it.
WholeStates == \A k \in 1..Len(log) : log[k].op = k /\ log[k].saw = [n \in Nodes |-> k - 1]

\* Z1 for readers: when the head and its keys can be read together, all of its zxid is visible; before, all is visible
\* below it.
Whole == Locked \cap ({"head"} \cup head.keys) = {} => \A n \in Nodes : node[n] >= head.zxid
BaseComplete == \A t \in transactions : t.op >= head.zxid

-----------------------------------------------------------------------------
NeverCarriedOn == ~\E i \in Sequencers : seq[i].pc = "step" /\ seq[i].head.journal.by # i
NeverAllFailures == ~(Done /\ failures = MaxFailures)
=============================================================================
