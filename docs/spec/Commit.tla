------------------------------- MODULE Commit -------------------------------
(***************************************************************************)
(* The write path: the request queue, the sequencer, and DynamoDB under    *)
(* it. ../architecture.md, "A write".                                      *)
(*                                                                         *)
(* The queue is SQS FIFO with one message group. It holds operations       *)
(* 1..N; operation k writes Writes[k] (nothing, if it fails or only        *)
(* checks). Its zxid is its number, and the value of a node is the zxid of *)
(* its last writer, so a wrong value names its cause. What an operation    *)
(* answers is what it saw of all nodes, which is the strictest answer.     *)
(*                                                                         *)
(* TransactWriteItems is decided at once and becomes visible item by item. *)
(* A plain read sees each item as it is. A transactional call on an item   *)
(* that a transaction has not yet made visible is refused.                 *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Sequencers,       \* instances of the function that can run at once
    Writes,           \* for each operation the nodes it writes
    MessageEnds,      \* the operations that are the last of their message
    MaxCrashes,       \* instances killed at any point
    MaxRedeliveries,  \* batches received while another instance still works on them
    MaxLostAnswers,   \* commits whose answer does not arrive; the call may run much later
    Broken            \* the rule that is switched off, or "none"

Nodes == {"x", "y"}
N == Len(Writes)
Ops == 1..N
Nowhere == [zxid |-> 0, keys |-> {}, applied |-> 0, outcomes |-> {}]
Unknown == [zxid |-> N + 1, keys |-> {}, applied |-> 0, outcomes |-> {}]
Unread == N + 1

\* Workloads. Two multis with a check of both nodes between; a multi, and a write of one of its nodes.
MultiCheckMulti == <<{"x", "y"}, {}, {"x", "y"}>>
MultiSet == <<{"x", "y"}, {"y"}>>

VARIABLES
    deleted,      \* the queue holds the operations above this one
    node, head,   \* what plain reads return
    transactions, \* decided, not all visible yet
    calls,        \* TransactWriteItems on their way
    seq,          \* the instances
    log,          \* history: [op, saw] in commit order
    sent,         \* history: the replies sent, [op, saw]
    crashes, redeliveries, lostAnswers

vars == <<deleted, node, head, transactions, calls, seq, log, sent, crashes, redeliveries, lostAnswers>>

Max(S) == CHOOSE m \in S : \A n \in S : n <= m
Min(S) == CHOOSE m \in S : \A n \in S : n >= m

\* The pure core: the nodes as operations from+1..k leave them, starting from what was loaded; and all outcomes.
After(snapshot, from, k) ==
    [n \in Nodes |-> LET writers == {j \in from + 1..k : n \in Writes[j]}
                     IN  IF writers = {} THEN snapshot[n] ELSE Max(writers)]
Outcomes(snapshot, from, k) == {[op |-> j, saw |-> After(snapshot, from, j - 1)] : j \in from + 1..k}
Changing(from, k) == {j \in from + 1..k : Writes[j] # {}}

\* What must come out, whatever happens.
Expected(op) == After([n \in Nodes |-> 0], 0, op - 1)

Locked == UNION {t.pending : t \in transactions}

Nobody == "nobody"
Blank == [n \in Nodes |-> Unread]
Idle == [pc |-> "idle", from |-> 0, to |-> 0, at |-> 0, upto |-> 0, head |-> Unknown, snapshot |-> Blank, replies |-> {}]

Init ==
    /\ deleted = 0
    /\ node = [n \in Nodes |-> 0]
    /\ head = Nowhere
    /\ transactions = {}
    /\ calls = {}
    /\ seq = [i \in Sequencers |-> Idle]
    /\ log = <<>>
    /\ sent = {}
    /\ crashes = 0 /\ redeliveries = 0 /\ lostAnswers = 0

\* The instance's next step when its replies are known: send them, go on with its batch, or be done with it.
Onwards(s) == [s EXCEPT !.pc = IF s.replies # {} THEN "answer" ELSE IF s.at < s.to THEN "load" ELSE "delete",
                        !.snapshot = Blank]

Again(s) == [s EXCEPT !.pc = "start", !.at = 0, !.upto = 0, !.head = Unknown, !.snapshot = Blank, !.replies = {}]

\* With the head h known and complete: drop what the watermark covers, and send the outcomes again that h still has,
\* before a commit replaces them.
Drop(s, h) ==
    LET dropped == [s EXCEPT !.head = h,
                             !.at = IF Broken = "ignoreWatermark" THEN s.from ELSE Max({s.from, h.applied}),
                             !.replies = {o \in h.outcomes : s.from < o.op /\ o.op <= s.to}]
    IN  IF Broken \in {"resendLast", "completeAfterLoad"} /\ dropped.at < s.to THEN [dropped EXCEPT !.pc = "load"] ELSE Onwards(dropped)

-----------------------------------------------------------------------------
\* The queue. A batch is any number of messages from the front: what was deleted never comes again, what was
\* received and not deleted comes again, with other company. An instance is new, or still has the head of its last
\* success.
Receive(i) ==
    /\ seq[i].pc = "idle"
    /\ deleted < N
    /\ IF \E j \in Sequencers \ {i} : seq[j].pc # "idle" /\ seq[j].to > deleted
       THEN redeliveries < MaxRedeliveries /\ redeliveries' = redeliveries + 1
       ELSE UNCHANGED redeliveries
    /\ \E to \in {e \in MessageEnds : e > deleted}, warm \in BOOLEAN :
        LET s == [Idle EXCEPT !.pc = "start", !.from = deleted, !.to = to]
        IN  IF warm
            THEN seq[i].head # Unknown /\ seq' = [seq EXCEPT ![i] = Drop(s, seq[i].head)]
            ELSE seq' = [seq EXCEPT ![i] = s]
    /\ UNCHANGED <<deleted, node, head, transactions, calls, log, sent, crashes, lostAnswers>>

\* Cold start, lost race, unknown outcome: TransactGetItems of the head and its keys. The plain read that told the
\* keys is not a step of its own, because the answer counts only if the head in it is the same.
Start(i) ==
    /\ seq[i].pc = "start"
    /\ \/ Locked \cap (head.keys \cup {"head"}) = {}
       \/ Broken = "assumeComplete"
       \/ Broken = "completeAfterLoad" /\ head.applied < seq[i].to
    /\ seq' = [seq EXCEPT ![i] = Drop(seq[i], head)]
    /\ UNCHANGED <<deleted, node, head, transactions, calls, log, sent, crashes, redeliveries, lostAnswers>>

\* BatchGetItem: not atomic. One order of reads is enough, because items become visible in any order.
Load(i) ==
    LET n == IF seq[i].snapshot["x"] = Unread THEN "x" ELSE "y"
    IN
    /\ seq[i].pc = "load"
    /\ seq[i].snapshot[n] = Unread
    /\ seq' = [seq EXCEPT ![i].snapshot[n] = node[n]]
    /\ UNCHANGED <<deleted, node, head, transactions, calls, log, sent, crashes, redeliveries, lostAnswers>>

\* Apply, and commit all that is left or, as if it were too large, a part that changes something.
Apply(i) ==
    LET s == seq[i]
        from == s.at
        Commit(k) ==
            /\ Changing(from, k) # {}
            /\ calls' = calls \cup
                {[by |-> i, expect |-> s.head.zxid, after |-> After(s.snapshot, from, k),
                  items |-> {"head"} \cup UNION {Writes[j] : j \in from + 1..k},
                  head |-> [zxid |-> Max(Changing(from, k)),
                            keys |-> UNION {Writes[j] : j \in from + 1..k} \ IF Broken = "someKeys" THEN {"y"} ELSE {},
                            applied |-> k, outcomes |-> Outcomes(s.snapshot, from, k)]]}
            /\ sent' = IF Broken = "answerBeforeCommit" THEN sent \cup Outcomes(s.snapshot, from, k) ELSE sent
            /\ seq' = [seq EXCEPT ![i] = [s EXCEPT !.pc = "commit", !.upto = k, !.snapshot = Blank]]
        Nothing ==
            /\ Changing(from, s.to) = {}
            /\ seq' = [seq EXCEPT ![i].pc = "verify"]
            /\ UNCHANGED <<calls, sent>>
    IN
    /\ s.pc = "load"
    /\ \A n \in Nodes : s.snapshot[n] # Unread
    /\ Broken = "completeAfterLoad" => Locked \cap (s.head.keys \cup {"head"}) = {}
    /\ (\E k \in from + 1..s.to : Commit(k)) \/ Nothing
    /\ UNCHANGED <<deleted, node, head, transactions, log, crashes, redeliveries, lostAnswers>>

\* A batch that changes nothing is right only if the head has not moved since it was known complete. The head is
\* read by TransactGetItems: a plain read can still be old when other items of a later transaction are visible.
Verify(i) ==
    LET s == seq[i]
    IN
    /\ s.pc = "verify"
    /\ "head" \in Locked => Broken \in {"plainReread", "noReread"}
    /\ seq' = [seq EXCEPT ![i] =
            IF head.zxid = s.head.zxid \/ Broken = "noReread"
            THEN Onwards([s EXCEPT !.at = s.to, !.replies = @ \cup Outcomes(s.snapshot, s.at, s.to)])
            ELSE Again(s)]
    /\ UNCHANGED <<deleted, node, head, transactions, calls, log, sent, crashes, redeliveries, lostAnswers>>

Answer(i) ==
    /\ seq[i].pc = "answer"
    /\ sent' = sent \cup seq[i].replies
    /\ seq' = [seq EXCEPT ![i] = Onwards([seq[i] EXCEPT !.replies = {}])]
    /\ UNCHANGED <<deleted, node, head, transactions, calls, log, crashes, redeliveries, lostAnswers>>

\* The function returns success, and the messages of its batch are deleted. It may be used again, warm.
Delete(i) ==
    /\ seq[i].pc = "delete"
    /\ deleted' = Max({deleted, seq[i].to})
    /\ seq' = [seq EXCEPT ![i] = [Idle EXCEPT !.head = seq[i].head]]
    /\ UNCHANGED <<node, head, transactions, calls, log, sent, crashes, redeliveries, lostAnswers>>

-----------------------------------------------------------------------------
\* DynamoDB. A call is decided when it arrives, which can be long after its caller gave up or died.
Decide ==
    \E c \in calls :
        LET ok == /\ Locked \cap c.items = {}
                  /\ head.zxid = c.expect \/ Broken = "noHeadCondition"
            outcomes == c.head.outcomes
        IN
        /\ calls' = calls \ {c}
        /\ IF ok
           THEN /\ transactions' = transactions \cup {[by |-> c.by, pending |-> c.items, after |-> c.after, head |-> c.head]}
                /\ log' = log \o [j \in 1..Cardinality(outcomes) |->
                            CHOOSE o \in outcomes : Cardinality({p \in outcomes : p.op < o.op}) = j - 1]
                /\ UNCHANGED seq
           ELSE /\ IF c.by = Nobody
                   THEN UNCHANGED seq
                   ELSE seq' = [seq EXCEPT ![c.by] = Again(@)]
                /\ UNCHANGED <<transactions, log>>
        /\ UNCHANGED <<deleted, node, head, sent, crashes, redeliveries, lostAnswers>>

Committed(i, h) ==
    seq' = [seq EXCEPT ![i] = Onwards([seq[i] EXCEPT !.at = seq[i].upto, !.head = h, !.replies = @ \cup h.outcomes, !.upto = 0])]

\* One item of a transaction becomes visible and free; with the last one its caller, if there still is one, succeeds.
Show ==
    \E t \in transactions : \E item \in t.pending :
        LET left == t.pending \ {item}
        IN
        /\ IF item = "head"
           THEN head' = t.head /\ UNCHANGED node
           ELSE node' = [node EXCEPT ![item] = t.after[item]] /\ UNCHANGED head
        /\ transactions' = (transactions \ {t}) \cup IF left = {} THEN {} ELSE {[t EXCEPT !.pending = left]}
        /\ IF left = {} /\ t.by # Nobody THEN Committed(t.by, t.head) ELSE UNCHANGED seq
        /\ UNCHANGED <<deleted, calls, log, sent, crashes, redeliveries, lostAnswers>>

Orphan(S, i) == {IF c.by = i THEN [c EXCEPT !.by = Nobody] ELSE c : c \in S}

\* No answer: the commit may have taken, may be under way, may come yet.
LoseAnswer(i) ==
    /\ seq[i].pc = "commit"
    /\ lostAnswers < MaxLostAnswers
    /\ lostAnswers' = lostAnswers + 1
    /\ calls' = Orphan(calls, i)
    /\ transactions' = Orphan(transactions, i)
    /\ IF Broken = "assumeCommitted"
       THEN \E c \in calls \cup transactions : c.by = i /\ Committed(i, c.head)
       ELSE seq' = [seq EXCEPT ![i] = Again(@)]
    /\ UNCHANGED <<deleted, node, head, log, sent, redeliveries, crashes>>

\* At any point, some of the replies that were due sent or none. What is idle can start cold anyway.
Crash(i) ==
    /\ seq[i].pc # "idle"
    /\ crashes < MaxCrashes
    /\ crashes' = crashes + 1
    /\ seq' = [seq EXCEPT ![i] = Idle]
    /\ calls' = Orphan(calls, i)
    /\ transactions' = Orphan(transactions, i)
    /\ \E some \in SUBSET (IF seq[i].pc = "answer" THEN seq[i].replies ELSE {}) : sent' = sent \cup some
    /\ UNCHANGED <<deleted, node, head, log, redeliveries, lostAnswers>>

Done ==
    /\ deleted = N
    /\ calls = {} /\ transactions = {}
    /\ \A i \in Sequencers : seq[i].pc = "idle"

Next ==
    \/ \E i \in Sequencers :
        \/ Receive(i) \/ Start(i) \/ Load(i) \/ Apply(i) \/ Verify(i) \/ Answer(i) \/ Delete(i)
        \/ LoseAnswer(i) \/ Crash(i)
    \/ Decide
    \/ Show
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

Symmetry == Permutations(Sequencers)

-----------------------------------------------------------------------------
\* Z2: the commit order is the queue's order, and nothing is applied twice or passed over.
OnceInOrder ==
    /\ \A j \in 1..Len(log) - 1 : log[j].op < log[j + 1].op
    /\ \A j \in 1..Len(log) : \A k \in Changing(0, log[j].op) : \E i \in 1..j : log[i].op = k

\* Z1: every operation acted on the complete effects of those before it, and on nothing else.
WholeStates == \A j \in 1..Len(log) : log[j].saw = Expected(log[j].op)

\* Z1: so did those that changed nothing; and a repeated answer is the same answer.
TrueAnswers == \A o \in sent : o.saw = Expected(o.op)

\* Z2: what was answered as done is done, for good, and all of it can be seen.
NothingLost ==
    \A o \in sent : Writes[o.op] # {} =>
        /\ \E j \in 1..Len(log) : log[j].op = o.op
        /\ \A t \in transactions : t.pending # {} => o.op \notin {p.op : p \in t.head.outcomes}

\* A message leaves the queue only when its callers were told.
EveryoneTold == \A op \in Ops : op <= deleted => \E o \in sent : o.op = op

\* What gateways rely on: when the head shows z, all transactions before z are complete.
BaseComplete == \A t \in transactions : t.pending # {} => t.head.zxid >= head.zxid

\* At rest, the nodes are what the committed operations made.
RightNodes == transactions = {} => \A n \in Nodes : node[n] = After([m \in Nodes |-> 0], 0, head.applied)[n]

-----------------------------------------------------------------------------
\* Witnesses, which TLC must reach: the faults are really tried.
NeverSplit == ~(Len(log) = 1 /\ \E i \in Sequencers : seq[i].pc = "load" /\ seq[i].at = 1 /\ seq[i].to = N)
NeverAllFaults == ~(Done /\ crashes = MaxCrashes /\ redeliveries = MaxRedeliveries /\ lostAnswers = MaxLostAnswers)
NeverTornLoad ==
    ~\E i \in Sequencers : seq[i].pc = "load" /\ \E a, b \in Nodes :
        LET s == seq[i].snapshot IN Unread \notin {s[a], s[b]} /\ s[a] # s[b]
=============================================================================
