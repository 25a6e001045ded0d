------------------------------ MODULE Pipeline ------------------------------
(***************************************************************************)
(* One connection that does not wait for answers: the order of its reads   *)
(* and writes inside the gateway. ../architecture.md, "A read".            *)
(*                                                                         *)
(* The storage is whole and observed at once here; Observe.tla has its     *)
(* tearing. The session's own writes set node "y".                         *)
(***************************************************************************)
EXTENDS Naturals, Sequences

CONSTANTS
    Length,      \* requests that the client sends at once
    MaxForeign,  \* writes of others
    Broken

Nodes == {"x", "y"}
Requests == 1..Length

VARIABLES
    kind,      \* of each request: the node to read, or "write"
    state,     \* "waiting", "sent", "executed", "answered"
    asked,     \* what the session had seen when a read was sent
    got,       \* the zxid of the node read, or of the write
    writes,    \* history: the nodes that each transaction changed
    foreign,
    seen,      \* the highest zxid that was shown
    stale      \* history: an answer was older than what was seen

vars == <<kind, state, asked, got, writes, foreign, seen, stale>>

Max2(a, b) == IF a > b THEN a ELSE b
LastChange(n, z) ==
    LET zs == {k \in 1..z : n \in writes[k]}
    IN  IF zs = {} THEN 0 ELSE CHOOSE m \in zs : \A k \in zs : k <= m
Earlier(k) == 1..k - 1
IsWrite(k) == kind[k] = "write"

Init ==
    /\ kind \in [Requests -> Nodes \cup {"write"}]
    /\ state = [k \in Requests |-> "waiting"]
    /\ asked = [k \in Requests |-> 0]
    /\ got = [k \in Requests |-> 0]
    /\ writes = <<>>
    /\ foreign = 0
    /\ seen = 0
    /\ stale = FALSE

Foreign ==
    /\ foreign < MaxForeign /\ foreign' = foreign + 1
    /\ \E S \in SUBSET Nodes \ {{}} : writes' = Append(writes, S)
    /\ UNCHANGED <<kind, state, asked, got, seen, stale>>

\* A read waits for the answers of the session's earlier writes, not for earlier reads.
SendRead(k) ==
    /\ state[k] = "waiting" /\ ~IsWrite(k)
    /\ \A j \in Earlier(k) : IsWrite(j) => state[j] = "answered"
    /\ state' = [state EXCEPT ![k] = "sent"]
    /\ asked' = [asked EXCEPT ![k] = seen]
    /\ UNCHANGED <<kind, got, writes, foreign, seen, stale>>

\* A write waits until the earlier reads are answered, for good. Executed is not enough: a read may be issued again.
SendWrite(k) ==
    /\ state[k] = "waiting" /\ IsWrite(k)
    /\ \A j \in Earlier(k) :
        IF IsWrite(j)
        THEN state[j] # "waiting"
        ELSE state[j] \in {"answered"} \cup IF Broken = "writeAfterExecuted" THEN {"executed"} ELSE {}
    /\ state' = [state EXCEPT ![k] = "sent"]
    /\ UNCHANGED <<kind, asked, got, writes, foreign, seen, stale>>

Execute(k) ==
    /\ state[k] = "sent"
    /\ state' = [state EXCEPT ![k] = "executed"]
    /\ IF IsWrite(k)
       THEN /\ \A j \in Earlier(k) : IsWrite(j) => state[j] # "sent"
            /\ writes' = Append(writes, {"y"})
            /\ got' = [got EXCEPT ![k] = Len(writes) + 1]
       ELSE /\ got' = [got EXCEPT ![k] = LastChange(kind[k], Len(writes))]
            /\ UNCHANGED writes
    /\ UNCHANGED <<kind, asked, foreign, seen, stale>>

\* Answers go out in the order of the requests. A read is issued again if the session has seen more since.
Answer(k) ==
    /\ state[k] = "executed"
    /\ \A j \in Earlier(k) : state[j] = "answered"
    /\ IF ~IsWrite(k) /\ seen > asked[k] /\ Broken # "noReissue"
       THEN /\ state' = [state EXCEPT ![k] = "sent"]
            /\ asked' = [asked EXCEPT ![k] = seen]
            /\ UNCHANGED <<seen, stale>>
       ELSE /\ state' = [state EXCEPT ![k] = "answered"]
            /\ seen' = Max2(seen, got[k])
            /\ stale' = (stale \/ (~IsWrite(k) /\ got[k] < LastChange(kind[k], seen)))
            /\ UNCHANGED asked
    /\ UNCHANGED <<kind, got, writes, foreign>>

Done == \A k \in Requests : state[k] = "answered"

Next ==
    \/ Foreign
    \/ \E k \in Requests : SendRead(k) \/ SendWrite(k) \/ Execute(k) \/ Answer(k)
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars /\ WF_vars(\E k \in Requests : SendRead(k) \/ SendWrite(k) \/ Execute(k) \/ Answer(k))

-----------------------------------------------------------------------------
\* Z3 within one connection.
NeverBack == ~stale

\* Z2: a session's reads and writes take effect in the order in which it sent them.
SessionOrder ==
    \A j, k \in Requests : j < k /\ state[j] = "answered" /\ state[k] = "answered" =>
        /\ ~IsWrite(j) /\ IsWrite(k) => got[j] < got[k]
        /\ IsWrite(j) /\ ~IsWrite(k) => got[k] >= LastChange(kind[k], got[j])
        /\ IsWrite(j) /\ IsWrite(k) => got[j] < got[k]

\* Nothing waits for ever.
Answered == <>Done

-----------------------------------------------------------------------------
NeverAgain == \A k \in Requests : ~(state[k] = "sent" /\ asked[k] > 0 /\ got[k] > 0)
=============================================================================
