------------------------------- MODULE Direct -------------------------------
(***************************************************************************)
(* Direct calls beside the queue: exactly once, and never "failed" for     *)
(* what is done. ../architecture.md, "A write".                            *)
(*                                                                         *)
(* One gateway has calls 1..Calls to make, each of PartsOf requests, by a  *)
(* direct invocation or by the queue. What a request comes to depends on   *)
(* what others commit meanwhile, so here it may be "done" or "failed" at   *)
(* any time. Transactions are decided at once, possibly long after their   *)
(* caller gave up, and then visible: Commit.tla shows what follows from    *)
(* their becoming visible item by item. An invocation that was sent runs   *)
(* once, or never, at any time.                                            *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Calls,           \* of the gateway
    PartsOf,         \* requests of each
    MaxTries,        \* copies of a call
    MaxOthers,       \* direct calls of others that are committed
    MaxLanes,        \* in the head
    MaxLostAnswers,  \* transactions whose answer does not arrive, or is "refused" though it took
    MaxRuns,         \* invocations, of both functions together
    Instances,       \* that can run at once
    Broken

VARIABLES
    head,     \* zxid; lanes; floor: that of the last lane that was removed; applied: the watermark of
              \*   the queue; outcomes: those of its last transaction
    done,     \* history: requests <<call, part>> in the order in which they took effect
    copies,   \* direct calls on their way: call, try, since
    queue,    \* messages: the call of each
    deleted,  \*   those up to here are answered
    inst,     \* the instances
    writes,   \* transactions on their way
    answers,  \* to direct calls and messages, on their way: call, try (0: the queue), and what they say
    at,       \* of the gateway: call, the way it went ("new", "direct", "queue"), since, tries
    knows,    \*   the highest zxid it knows
    told,     \* what the clients were told of each request, or "nothing"
    others, lost, runs

vars == <<head, done, copies, queue, deleted, inst, writes, answers, at, knows, told, others, lost, runs>>

Max(S) == CHOOSE m \in S : \A n \in S : n <= m
Min(S) == CHOOSE m \in S : \A n \in S : n >= m
Max2(a, b) == IF a > b THEN a ELSE b

Own == 0
Parts == 1..PartsOf
Unasked == [p \in Parts |-> "nothing"]
Unread == [zxid |-> -1, lanes |-> {}, floor |-> 0, applied |-> 0, outcomes |-> Unasked]
Idle == [pc |-> "idle", way |-> "none", call |-> 0, try |-> 0, since |-> 0, place |-> 0, upto |-> 0, got |-> Unasked,
         head |-> Unread, unknown |-> {}, wrote |-> FALSE, races |-> 0]

Init ==
    /\ head = [zxid |-> 0, lanes |-> {}, floor |-> 0, applied |-> 0, outcomes |-> Unasked]
    /\ done = <<>>
    /\ copies = {}
    /\ queue = <<>> /\ deleted = 0
    /\ inst = [i \in Instances |-> Idle]
    /\ writes = {}
    /\ answers = {}
    /\ at = [call |-> 1, way |-> "new", since |-> 0, tries |-> 0]
    /\ knows = 0
    /\ told = [c \in 1..Calls |-> Unasked]
    /\ others = 0 /\ lost = 0 /\ runs = 0

\* The head after a direct call of this gateway, or of another, up to a part of it. A lane says how far the calls of its
\* gateway are applied, and the zxid of the last that was. That which was unused for longest goes, and the floor says so.
With(h, lane) ==
    LET all == {l \in h.lanes : l.of # lane.of} \cup {lane}
        oldest == IF Cardinality(all) > MaxLanes THEN {l \in all : \A m \in all : l.zxid <= m.zxid} ELSE {}
    IN  [h EXCEPT !.lanes = all \ oldest,
                  !.outcomes = IF Broken = "oneForBoth" THEN Unasked ELSE @,
                  !.floor = IF Broken = "noFloor" THEN @ ELSE Max({@} \cup {l.zxid : l \in oldest})]

-----------------------------------------------------------------------------
\* The gateway. One call or message is under way at a time, and it goes on when it knows what came of that.
Go ==
    /\ at.call <= Calls /\ at.way = "new"
    /\ \E since \in 0..knows, way \in {"direct", "queue"} :
        /\ at' = [at EXCEPT !.way = way, !.since = since, !.tries = 1]
        /\ copies' = IF way = "direct" THEN copies \cup {[call |-> at.call, try |-> 1, since |-> since]} ELSE copies
        /\ queue' = IF way = "queue" THEN Append(queue, at.call) ELSE queue
    /\ UNCHANGED <<head, done, deleted, inst, writes, answers, knows, told, others, lost, runs>>

\* It hears of what others do, at any time.
Hear ==
    /\ knows < head.zxid
    /\ knows' = head.zxid
    /\ UNCHANGED <<head, done, copies, queue, deleted, inst, writes, answers, at, told, others, lost, runs>>

\* No answer came: the very same again.
Repeat ==
    /\ at.way = "direct" /\ at.tries < MaxTries
    /\ at' = [at EXCEPT !.tries = @ + 1]
    /\ copies' = copies \cup {[call |-> at.call, try |-> at.tries + 1,
                               since |-> IF Broken = "sinceOfRetry" THEN knows ELSE at.since]}
    /\ UNCHANGED <<head, done, queue, deleted, inst, writes, answers, knows, told, others, lost, runs>>

\* An answer comes. Those to earlier copies do not count.
Take ==
    \E a \in answers :
        /\ answers' = answers \ {a}
        /\ IF a.call # at.call \/ (a.try = 0) # (at.way = "queue") \/ (a.try \notin {0, at.tries} /\ Broken # "earlierAnswers")
           THEN UNCHANGED <<at, knows, told, copies, queue>>
           ELSE CASE a.says = "outcomes" ->
                        /\ told' = [told EXCEPT ![a.call] = a.got]
                        /\ knows' = Max2(knows, a.zxid)
                        /\ at' = [call |-> at.call + 1, way |-> "new", since |-> 0, tries |-> 0]
                        /\ UNCHANGED <<copies, queue>>
                  [] a.says = "contended" ->
                        IF at.tries = 1 \/ Broken = "contendedRepeat"
                        THEN /\ at' = [at EXCEPT !.way = "queue", !.tries = 1]
                             /\ queue' = Append(queue, at.call)
                             /\ UNCHANGED <<knows, told, copies>>
                        ELSE UNCHANGED <<at, knows, told, copies, queue>>
                  [] a.says = "stale" ->
                        IF at.tries = 1 \/ Broken = "staleRepeat"
                        THEN /\ knows' = Max2(knows, a.zxid)
                             /\ at' = [at EXCEPT !.way = "new"]
                             /\ UNCHANGED <<told, copies, queue>>
                        ELSE \* lost: its clients are cut off, and the gateway begins anew under another name
                             /\ told' = [told EXCEPT ![a.call] = [p \in Parts |-> "unknown"]]
                             /\ at' = [at EXCEPT !.call = Calls + 1]
                             /\ UNCHANGED <<knows, copies, queue>>
    /\ UNCHANGED <<head, done, deleted, inst, writes, others, lost, runs>>

-----------------------------------------------------------------------------
\* Another gateway's direct call is committed.
OtherCommits ==
    /\ others < MaxOthers /\ others' = others + 1
    /\ head' = With([head EXCEPT !.zxid = @ + 1], [of |-> others + 1, zxid |-> head.zxid + 1, call |-> 1, upto |-> 0])
    /\ UNCHANGED <<done, copies, queue, deleted, inst, writes, answers, at, knows, told, lost, runs>>

\* An instance is invoked. SQS delivers what is not deleted, also while another instance works on it.
Invoke(i) ==
    /\ inst[i].pc = "idle"
    /\ runs < MaxRuns /\ runs' = runs + 1
    /\ \/ \E c \in copies :
            /\ copies' = IF Broken = "platformTwice" THEN copies ELSE copies \ {c}
            /\ inst' = [inst EXCEPT ![i] = [Idle EXCEPT !.pc = "read", !.way = "direct", !.call = c.call, !.try = c.try,
                                                         !.since = c.since]]
       \/ /\ deleted < Len(queue)
          /\ inst' = [inst EXCEPT ![i] = [Idle EXCEPT !.pc = "read", !.way = "queue", !.call = queue[deleted + 1],
                                                      !.place = deleted + 1]]
          /\ UNCHANGED copies
    /\ UNCHANGED <<head, done, queue, deleted, writes, answers, at, knows, told, others, lost>>

\* It reads the head. What it wrote on condition of an earlier head took, or never will.
ReadHead(i) ==
    /\ inst[i].pc = "read"
    /\ inst' = [inst EXCEPT ![i].pc = "judge", ![i].head = head, ![i].unknown = {z \in @ : z = head.zxid}]
    /\ UNCHANGED <<head, done, copies, queue, deleted, writes, answers, at, knows, told, others, lost, runs>>

Finish(i, message) ==
    /\ answers' = answers \cup message
    /\ inst' = [inst EXCEPT ![i] = Idle]

Says(s, what) == {[call |-> s.call, try |-> s.try, says |-> what, got |-> Unasked, zxid |-> s.head.zxid]}
Outcomes(s) == {[call |-> s.call, try |-> s.try, says |-> "outcomes", zxid |-> s.head.zxid,
                 got |-> [p \in Parts |->
                    LET kept == IF s.way = "queue" /\ s.place = s.head.applied THEN s.head.outcomes ELSE Unasked
                    IN  IF s.got[p] # "nothing" THEN s.got[p] ELSE IF kept[p] # "nothing" THEN kept[p] ELSE "unknown"]]}

\* How far the call, or the message, is applied by what the head says; -1 if the head does not know any more.
Lane(h) == {l \in h.lanes : l.of = Own}
Position(l) == IF Lane(l) = {} THEN <<0, 0>> ELSE LET m == CHOOSE m \in Lane(l) : TRUE IN <<m.call, m.upto>>
Applied(s) ==
    LET position == Position(s.head)
    IN  IF s.way = "queue" THEN IF s.place <= s.head.applied THEN PartsOf ELSE 0
        ELSE IF Lane(s.head) = {} /\ s.since < s.head.floor THEN -1
        ELSE IF position[1] = s.call THEN position[2]
        ELSE IF position[1] > s.call /\ Broken # "onlyThisCall" THEN PartsOf ELSE 0
Upto(s) == Max2(s.upto, Applied(s))

\* All of it is applied: it is answered, as far as this instance, or the head, knows the outcomes.
Answer(i) ==
    LET s == inst[i]
    IN
    /\ s.pc = "judge"
    /\ Upto(s) = PartsOf
    /\ Finish(i, Outcomes(s))
    /\ deleted' = IF s.way = "queue" THEN Max2(deleted, s.place) ELSE deleted
    /\ UNCHANGED <<head, done, copies, queue, writes, at, knows, told, others, lost, runs>>

\* What has run, or may have, must not be said not to have: a write that was refused may have been a retry of one that
\* took, and its entry may be gone.
Refuse(i) ==
    LET s == inst[i]
    IN
    /\ s.pc = "judge" /\ s.way = "direct"
    /\ Applied(s) = -1
    /\ IF ~s.wrote \/ Broken = "staleUnsure"
       THEN Finish(i, Says(s, "stale"))
       ELSE inst' = [inst EXCEPT ![i] = Idle] /\ UNCHANGED answers
    /\ UNCHANGED <<head, done, copies, queue, deleted, writes, at, knows, told, others, lost, runs>>

\* While the head remembers all since the call was made, it shows that no write took; that none will, only one that has
\* moved since.
Contend(i) ==
    LET s == inst[i]
    IN
    /\ s.pc = "judge" /\ s.way = "direct"
    /\ Applied(s) = 0 \/ Broken = "contendedUnread"
    /\ s.races > 0
    /\ s.unknown = {} \/ Broken = "contendedUnsure"
    /\ s.upto = 0
    /\ Finish(i, Says(s, "contended"))
    /\ UNCHANGED <<head, done, copies, queue, deleted, writes, at, knows, told, others, lost, runs>>

\* It applies the first of what is left, and commits that; also if nothing changed, where others must know: of every
\* message, of a repeated call, and after a write of unknown fate.
Recorded(s) ==
    \/ s.way = "queue" /\ Broken # "noWatermark"
    \/ s.way = "direct" /\ s.try > 1 /\ Broken # "noRecord"
    \/ s.unknown # {} /\ Broken # "answersUnsure"

Apply(i) ==
    LET s == inst[i]
        left == Upto(s) + 1..PartsOf
    IN
    /\ s.pc = "judge"
    /\ Applied(s) # -1 \/ Broken = "noFloor"
    /\ left # {}
    /\ \E last \in left : \E outcomes \in [Upto(s) + 1..last -> {"done", "failed"}] :
        LET took == {p \in DOMAIN outcomes : outcomes[p] = "done"}
            got == [p \in Parts |-> IF p \in DOMAIN outcomes THEN outcomes[p] ELSE s.got[p]]
        IN
        /\ s.way = "queue" => last = PartsOf
        /\ IF took # {} \/ Recorded(s)
           THEN /\ writes' = writes \cup {[by |-> i, way |-> s.way, expect |-> s.head.zxid, call |-> s.call, upto |-> last,
                                           place |-> s.place, took |-> took, got |-> got]}
                /\ inst' = [inst EXCEPT ![i].pc = "commit", ![i].got = got, ![i].wrote = TRUE]
           ELSE /\ inst' = [inst EXCEPT ![i].pc = "verify", ![i].got = got, ![i].upto = last]
                /\ UNCHANGED writes
    /\ UNCHANGED <<head, done, copies, queue, deleted, answers, at, knows, told, others, lost, runs>>

\* What changed nothing counts only if the head has not moved since it was read.
Verify(i) ==
    LET s == inst[i]
    IN
    /\ s.pc = "verify"
    /\ IF head.zxid = s.head.zxid
       THEN IF s.upto = PartsOf
            THEN /\ Finish(i, Outcomes(s))
                 /\ deleted' = IF s.way = "queue" THEN Max2(deleted, s.place) ELSE deleted
            ELSE inst' = [inst EXCEPT ![i].pc = "judge"] /\ UNCHANGED <<answers, deleted>>
       ELSE /\ inst' = [inst EXCEPT ![i].pc = "read", ![i].upto = Applied(s), ![i].got =
                            [p \in Parts |-> IF p > Applied(s) THEN "nothing" ELSE s.got[p]]]
            /\ UNCHANGED <<answers, deleted>>
    /\ UNCHANGED <<head, done, copies, queue, writes, at, knows, told, others, lost, runs>>

After(w) ==
    LET moved == [head EXCEPT !.zxid = @ + 1]
    IN  IF w.way = "queue" THEN [moved EXCEPT !.applied = w.place, !.outcomes = w.got]
        ELSE With(moved, [of |-> Own, zxid |-> head.zxid + 1, call |-> w.call, upto |-> w.upto])

\* The outcomes of what is behind it, when a write did not take, or nobody knows.
Known(s) == [p \in Parts |-> IF p > s.upto THEN "nothing" ELSE s.got[p]]

InOrder(w) == [k \in 1..Cardinality(w.took) |->
                <<w.call, CHOOSE p \in w.took : Cardinality({q \in w.took : q < p}) = k - 1>>]

\* DynamoDB decides. Its answer may be lost, or be that of a retry, which finds the head moved.
Decide ==
    \E w \in writes :
        LET ok == head.zxid = w.expect
            s == inst[w.by]
            waits == w.by \in Instances
        IN
        /\ writes' = writes \ {w}
        /\ head' = IF ok THEN After(w) ELSE head
        /\ done' = IF ok THEN done \o InOrder(w) ELSE done
        /\ IF ~waits
           THEN UNCHANGED <<inst, lost>>
           ELSE \E mask \in {FALSE} \cup (IF ok /\ lost < MaxLostAnswers THEN {TRUE} ELSE {}) :
                /\ lost' = IF mask THEN lost + 1 ELSE lost
                /\ inst' = [inst EXCEPT ![w.by] =
                    IF ok /\ ~mask
                    THEN [s EXCEPT !.pc = "judge", !.head = head', !.upto = w.upto]
                    ELSE [s EXCEPT !.pc = IF Broken = "contendedUnread" THEN "judge" ELSE "read", !.races = 1,
                                   !.got = Known(s)]]
        /\ UNCHANGED <<copies, queue, deleted, answers, at, knows, told, others, runs>>

Orphan(S, i) == {IF w.by = i THEN [w EXCEPT !.by = "nobody"] ELSE w : w \in S}

LoseAnswer(i) ==
    LET s == inst[i]
    IN
    /\ s.pc = "commit"
    /\ lost < MaxLostAnswers /\ lost' = lost + 1
    /\ writes' = Orphan(writes, i)
    /\ inst' = [inst EXCEPT ![i].pc = "read", ![i].unknown = @ \cup {s.head.zxid}, ![i].races = 1,
                ![i].got = Known(s)]
    /\ UNCHANGED <<head, done, copies, queue, deleted, answers, at, knows, told, others, runs>>

\* Killed, or at the end of its time. What it knew is gone, and what it wrote may come yet.
Crash(i) ==
    /\ inst[i].pc # "idle"
    /\ inst' = [inst EXCEPT ![i] = Idle]
    /\ writes' = Orphan(writes, i)
    /\ UNCHANGED <<head, done, copies, queue, deleted, answers, at, knows, told, others, lost, runs>>

\* The gateway has its answers, or there is nothing left to try.
Stop == at.call > Calls \/ runs = MaxRuns \/ (at.tries = MaxTries /\ copies = {} /\ deleted = Len(queue))

Next ==
    \/ Go \/ Hear \/ Repeat \/ Take \/ OtherCommits \/ Decide
    \/ \E i \in Instances :
        \/ Invoke(i) \/ ReadHead(i) \/ Answer(i) \/ Refuse(i) \/ Contend(i) \/ Apply(i) \/ Verify(i) \/ LoseAnswer(i)
        \/ Crash(i)
    \/ Stop /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

Symmetry == Permutations(Instances)

-----------------------------------------------------------------------------
Before(a, b) == a[1] < b[1] \/ (a[1] = b[1] /\ a[2] < b[2])

\* Nothing is applied twice, and what is applied is applied in the order in which it was sent.
FifoOnce == \A j \in 1..Len(done) - 1 : Before(done[j], done[j + 1])

\* What clients were told is so, for good.
ToldTrue ==
    \A c \in 1..Calls : \A p \in Parts :
        /\ told[c][p] = "done" => \E j \in 1..Len(done) : done[j] = <<c, p>>
        /\ told[c][p] = "failed" => \A j \in 1..Len(done) : done[j] # <<c, p>>

\* Whoever asked by the queue is told, whatever is killed: its outcomes stay until the queue's next transaction.
EveryoneTold == \A a \in answers : a.try = 0 /\ a.call = at.call => \A p \in Parts : a.got[p] # "unknown"

-----------------------------------------------------------------------------
\* Witnesses, which TLC must reach.
NeverAllDone == at.call <= Calls
NeverStale == \A a \in answers : a.says # "stale"
NeverQueued == ~(at.way = "queue" /\ deleted < Len(queue) /\ \E j \in 1..Len(done) : done[j][1] = 1)
=============================================================================
