------------------------------ MODULE Observe -------------------------------
(***************************************************************************)
(* The read path: item-by-item visibility, observe, event records, the     *)
(* cursor, registration of watches against commits, reads in flight, and   *)
(* sessions that move, and reads from memory. ../architecture.md, "A read" *)
(* and "Watches", ../consistency.md, "Cached reads".                       *)
(*                                                                         *)
(* The sequencer is one process here; Commit.tla shows that several behave *)
(* like one. Transaction z is the z-th, and an item's value is the zxid of *)
(* its last change. A hint only makes a gateway observe, which here it may *)
(* do at any time or never, so hints need no state to be lost or late.     *)
(* The lease of the memory is time, of which there is none here.           *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Gateways, Sessions, Nodes,
    MaxZxid,         \* transactions
    MaxReads,        \* reads of all sessions together
    MaxOutstanding,  \* reads that one session has under way at once
    MaxMoves,        \* connections lost, of all sessions together
    MaxFloor,        \* event records that can expire
    Caching,         \* whether gateways answer from memory
    Broken

VARIABLES
    writes,    \* history: for each transaction the nodes it changes
    fires,     \* for each transaction the nodes in its event record; no record if there are none
    pending,   \* <<z, item>> decided and not visible
    head,      \* the zxid that a plain read of the head returns
    node,      \* the zxid that a plain read of a node returns
    set,       \* the node's watch set: gateways
    load,      \* the sequencer's loaded snapshot: nodes to write, and those whose set was empty
    floor,     \* event records up to here have expired
    complete, cursor, candidate,  \* of each gateway
    cache,     \*   by node what it has in memory: <<zxid, whether the set as it was read names the gateway>>, or Nothing
    gap,       \*   the last zxid up to which it does not know what changed
    at,        \* of each session: its gateway
    queue,     \*   its reads, oldest first
    due,       \*   events in its output queue, <<zxid, node>>
    seen,      \*   the highest zxid it was shown
    watch,     \*   what it knows it watches: the zxid of the read that registered, or None
    reads, moves,
    stale      \* history: a session was shown a state older than one it had seen

storage == <<writes, fires, pending, head, node, set, load, floor>>
gateway == <<complete, cursor, candidate, cache, gap>>
session == <<at, queue, due, seen, watch, reads, moves, stale>>
vars == <<storage, gateway, session>>

None == -1
Nowhere == "nowhere"
Nothing == <<None, FALSE>>
Empty == [n \in Nodes |-> Nothing]
NotLoaded == [writes |-> {}, empty |-> {}]

Max(S) == CHOOSE m \in S : \A n \in S : n <= m
Min(S) == CHOOSE m \in S : \A n \in S : n >= m
Max2(a, b) == IF a > b THEN a ELSE b

Zxids == 1..Len(writes)
LastChange(n, z) == Max({0} \cup {k \in 1..z : n \in writes[k]})
Locked(i) == \E z \in Zxids : <<z, i>> \in pending
Complete(z) == \A p \in pending : p[1] > z
Items(z) == writes[z] \cup {"head"} \cup IF fires[z] = {} THEN {} ELSE {"event"}

\* What Query returns of the event records.
Recorded(z) == IF <<z, "event">> \in pending \/ z <= floor THEN {} ELSE fires[z]

\* Transaction 2 deletes node "x" if it writes it: a tombstone with its zxid stays. All else about a deletion is as
\* for any other change.
Shown(n, z) == IF Broken = "noTombstone" /\ n = "x" /\ z = 2 THEN 0 ELSE z

Init ==
    /\ writes = <<>> /\ fires = <<>>
    /\ pending = {}
    /\ head = 0
    /\ node = [n \in Nodes |-> 0]
    /\ set = [n \in Nodes |-> {}]
    /\ load = NotLoaded
    /\ floor = 0
    /\ complete = [g \in Gateways |-> 0]
    /\ cursor = [g \in Gateways |-> 0]
    /\ candidate = [g \in Gateways |-> 0]
    /\ cache = [g \in Gateways |-> Empty]
    /\ gap = [g \in Gateways |-> 0]
    /\ at = [s \in Sessions |-> Nowhere]
    /\ queue = [s \in Sessions |-> <<>>]
    /\ due = [s \in Sessions |-> {}]
    /\ seen = [s \in Sessions |-> 0]
    /\ watch = [s \in Sessions |-> [n \in Nodes |-> None]]
    /\ reads = 0 /\ moves = 0
    /\ stale = FALSE

-----------------------------------------------------------------------------
\* The sequencer. It loads when the previous transaction is complete.
Load ==
    /\ load = NotLoaded
    /\ Len(writes) < MaxZxid
    /\ pending = {} \/ (Broken = "commitEarly" /\ ~Locked("head"))
    /\ \E S \in SUBSET Nodes \ {{}} : load' = [writes |-> S, empty |-> {n \in S : set[n] = {}}]
    /\ UNCHANGED <<writes, fires, pending, head, node, set, floor, gateway, session>>

\* A set loaded empty must still be empty. A set loaded non-empty is moved as it is by then.
Commit ==
    LET z == Len(writes) + 1
        fired == load.writes \ load.empty
    IN
    /\ load # NotLoaded
    /\ ~Locked("head") /\ \A n \in load.writes : ~Locked(n)
    /\ load' = NotLoaded
    /\ IF (\E n \in load.empty : set[n] # {}) /\ Broken # "noSetCondition"
       THEN UNCHANGED <<writes, fires, pending>>
       ELSE /\ writes' = Append(writes, load.writes)
            /\ fires' = Append(fires, fired)
            /\ pending' = pending \cup
                ({z} \X (load.writes \cup {"head"} \cup IF fired = {} THEN {} ELSE {"event"}))
    /\ UNCHANGED <<head, node, set, floor, gateway, session>>

Show ==
    \E p \in pending :
        /\ pending' = pending \ {p}
        /\ head' = IF p[2] = "head" THEN p[1] ELSE head
        /\ node' = IF p[2] \in Nodes THEN [node EXCEPT ![p[2]] = p[1]] ELSE node
        /\ set' = IF p[2] \in Nodes THEN [set EXCEPT ![p[2]] = {}] ELSE set
        /\ UNCHANGED <<writes, fires, load, floor, gateway, session>>

\* The floor stands in the head before the records go.
Expire ==
    /\ floor < MaxFloor
    /\ floor + 1 \in Zxids /\ Complete(floor + 1)
    /\ floor' = floor + 1
    /\ UNCHANGED <<writes, fires, pending, head, node, set, load, gateway, session>>

-----------------------------------------------------------------------------
\* observe, first half: learn of a complete zxid. From the head's base; from TransactGetItems of the head and its
\* keys (the plain read before it is no step of its own: only an unchanged head counts); or from a message of the
\* sequencer, which carries a complete zxid, however old.
Known ==
    {head - 1}
    \cup {z \in Zxids : z = head /\ \A i \in Items(z) : ~Locked(i)}
    \cup {z \in Zxids : Complete(z)}
    \cup IF Broken = "hintEarly" THEN Zxids ELSE {}
    \cup IF Broken = "plainHead" THEN {head} ELSE {}

Serves(g) == \E s \in Sessions : at[s] = g

Learn(g) ==
    /\ Serves(g)
    /\ candidate[g] = 0
    /\ \E z \in Known :
        /\ z > complete[g]
        /\ candidate' = [candidate EXCEPT ![g] = z]
        /\ complete' = IF Broken = "publishEarly" THEN [complete EXCEPT ![g] = z] ELSE complete
    /\ Broken = "floorBeforeQuery" => floor <= cursor[g]
    /\ UNCHANGED <<storage, cursor, cache, gap, session>>

Rearms(s, n) == \E k \in 1..Len(queue[s]) : queue[s][k].rearm /\ n \in queue[s][k].nodes
Active(s, n) == watch[s][n] # None /\ ~Rearms(s, n) /\ \A e \in due[s] : e[2] # n

\* What is still in memory when z is published: with the changes up to z known, what they left alone, or what shows them.
Followed(g, z, known) ==
    [n \in Nodes |->
        LET entry == cache[g][n] IN
        IF entry = Nothing THEN Nothing
        ELSE IF Broken = "cacheStays" THEN entry
        ELSE IF ~known THEN IF Broken = "cacheOverGap" THEN entry ELSE Nothing
        ELSE IF entry[1] < LastChange(n, z) THEN Nothing ELSE entry]

\* Second half: read the event records in (cursor, candidate], put events into the output queues, publish. An entry
\* of the local table stands there from the moment its registration is sent; what fires before its answer has come
\* waits with it. A cursor below the event floor drops the connections; the floor is read after the records.
Deliver(g) ==
    LET new == cursor[g] + 1..candidate[g]
        here == {s \in Sessions : at[s] = g}
        Firing(n, i) == {z \in new : z > i /\ n \in Recorded(z)}
        Events(s) == {<<Min(Firing(n, watch[s][n])), n>> :
                        n \in {m \in Nodes : Active(s, m) /\ Firing(m, watch[s][m]) # {}}}
        Behind(r) == IF r.arrived \/ Broken # "lateEntry"
                     THEN [r EXCEPT !.events = @ \cup {<<z, n>> \in new \X r.nodes : n \in Recorded(z)}]
                     ELSE r
        dropped == floor > cursor[g] /\ Broken # "floorBeforeQuery"
    IN
    /\ candidate[g] # 0
    /\ candidate' = [candidate EXCEPT ![g] = 0]
    /\ complete' = [complete EXCEPT ![g] = IF dropped THEN 0 ELSE candidate[g]]
    /\ cursor' = [cursor EXCEPT ![g] = IF dropped THEN 0 ELSE candidate[g]]
    /\ \E known \in IF Caching THEN BOOLEAN ELSE {TRUE} :
        /\ cache' = [cache EXCEPT ![g] = IF dropped THEN Empty ELSE Followed(g, candidate[g], known)]
        /\ gap' = IF known THEN gap ELSE [gap EXCEPT ![g] = candidate[g]]
    /\ IF dropped
       THEN /\ at' = [s \in Sessions |-> IF s \in here THEN Nowhere ELSE at[s]]
            /\ queue' = [s \in Sessions |-> IF s \in here THEN <<>> ELSE queue[s]]
            /\ due' = [s \in Sessions |-> IF s \in here THEN {} ELSE due[s]]
       ELSE /\ due' = [s \in Sessions |-> IF s \in here THEN due[s] \cup Events(s) ELSE due[s]]
            /\ queue' = [s \in Sessions |->
                            IF s \in here THEN [k \in 1..Len(queue[s]) |-> Behind(queue[s][k])] ELSE queue[s]]
            /\ UNCHANGED at
    /\ UNCHANGED <<storage, seen, watch, reads, moves, stale>>

-----------------------------------------------------------------------------
\* A read in flight, with what its gateway had published when it was sent: it surely reflects that. A rearm is what
\* setWatches does: all its registrations are one request.
Asked(nodes, registers, rearm, published) ==
    [nodes |-> nodes, registers |-> registers, rearm |-> rearm, asked |-> published,
     got |-> [n \in nodes |-> None], arrived |-> Broken # "lateEntry", events |-> {},
     armed |-> {}, recalled |-> FALSE]

Published(s) == IF Broken = "skipObserve" THEN Max2(complete[at[s]], seen[s]) ELSE complete[at[s]]

Read(s) ==
    /\ at[s] # Nowhere
    /\ reads < MaxReads /\ reads' = reads + 1
    /\ Len(queue[s]) < MaxOutstanding
    /\ \E n \in Nodes, registers \in BOOLEAN :
        queue' = [queue EXCEPT ![s] = Append(@, Asked({n}, registers, FALSE, Published(s)))]
    /\ UNCHANGED <<storage, gateway, at, due, seen, watch, moves, stale>>

\* The storage executes it. A registration is an UpdateItem, refused while a transaction holds the item; when the
\* item read already has the gateway in its set, a plain read is enough.
Execute(s) ==
    \E k \in 1..Len(queue[s]) : \E n \in queue[s][k].nodes :
        LET r == queue[s][k]
            remembered == Broken = "trustMemory" /\ \E t \in Sessions : at[t] = at[s] /\ Active(t, n)
            plain == ~r.registers \/ at[s] \in set[n] \/ remembered
        IN
        /\ r.got[n] = None
        /\ plain \/ ~Locked(n)
        /\ queue' = [queue EXCEPT ![s][k].got[n] = node[n],
                                  ![s][k].armed = IF Caching /\ (~plain \/ at[s] \in set[n]) THEN @ \cup {n} ELSE @]
        /\ set' = IF plain THEN set ELSE [set EXCEPT ![n] = @ \cup {at[s]}]
        /\ UNCHANGED <<writes, fires, pending, head, node, load, floor, gateway>>
        /\ UNCHANGED <<at, due, seen, watch, reads, moves, stale>>

\* What was read is kept, unless the node has changed since it was asked for, or may have, and the answer does not show it.
Keep(s) ==
    \E k \in 1..Len(queue[s]) : \E n \in queue[s][k].nodes :
        LET r == queue[s][k]
            g == at[s]
            Shows(z) == r.asked >= z \/ r.got[n] >= z
            surely == Shows(LastChange(n, complete[g])) /\ Shows(gap[g])
        IN
        /\ Caching /\ r.got[n] # None /\ ~r.recalled
        /\ surely \/ Broken = "cacheUnderWay"
        /\ cache' = [cache EXCEPT ![g][n] = <<r.got[n], n \in r.armed>>]
        /\ UNCHANGED <<storage, complete, cursor, candidate, gap, session>>

\* Memory answers instead of storage, with what is complete.
Recall(s) ==
    \E k \in 1..Len(queue[s]) : \E n \in queue[s][k].nodes :
        LET r == queue[s][k]
            entry == cache[at[s]][n]
        IN
        /\ r.got[n] = None /\ entry # Nothing
        /\ entry[1] <= complete[at[s]]
        /\ ~r.registers \/ entry[2] \/ Broken = "cacheArms"
        /\ queue' = [queue EXCEPT ![s][k].got[n] = entry[1], ![s][k].recalled = TRUE]
        /\ UNCHANGED <<storage, gateway, at, due, seen, watch, reads, moves, stale>>

\* Its answer comes back; of consequence only where the entry is made no earlier than that.
Arrive(s) ==
    \E k \in 1..Len(queue[s]) :
        /\ ~queue[s][k].arrived
        /\ \A n \in queue[s][k].nodes : queue[s][k].got[n] # None
        /\ queue' = [queue EXCEPT ![s][k].arrived = TRUE]
        /\ UNCHANGED <<storage, gateway, at, due, seen, watch, reads, moves, stale>>

\* The events behind the read that registered n at zxid z.
Late(r, n, z) == LET later == {e \in r.events : e[2] = n /\ e[1] > z}
                 IN  {e \in later : \A f \in later : e[1] <= f[1]}

\* The zxid that the reply carries and all that it shows is at least as new as.
Header(r) == Max({r.asked} \cup {r.got[n] : n \in r.nodes})

\* All of it is here and observed, and what precedes it in the output queue is sent. Newer events may wait behind it.
Ready(s) ==
    /\ queue[s] # <<>>
    /\ LET r == queue[s][1]
       IN  /\ r.arrived
           /\ \A n \in r.nodes : /\ r.got[n] # None
                                 /\ Shown(n, r.got[n]) <= complete[at[s]] \/ Broken = "skipObserve"
           /\ \A e \in due[s] : e[1] > Header(r)

\* A reply or an event raised what the session has seen above what was published when this was asked: ask again.
Outdated(s) == seen[s] > queue[s][1].asked /\ Broken # "noReissue"

Again(s) ==
    /\ Ready(s) /\ Outdated(s)
    /\ queue' = [queue EXCEPT ![s][1] = Asked(@.nodes, @.registers, @.rearm, Published(s))]
    /\ UNCHANGED <<storage, gateway, at, due, seen, watch, reads, moves, stale>>

\* The reply goes out. Its header carries what it surely reflects, not all that the gateway has observed by now.
Reply(s) ==
    LET r == queue[s][1]
        n == CHOOSE m \in r.nodes : TRUE
        z == r.got[n]
    IN
    /\ Ready(s) /\ ~Outdated(s)
    /\ ~r.rearm
    /\ queue' = [queue EXCEPT ![s] = Tail(@)]
    /\ stale' = (stale \/ z < LastChange(n, seen[s]))
    /\ seen' = [seen EXCEPT ![s] = Max2(IF Broken = "headerComplete" THEN complete[at[s]] ELSE Header(r), @)]
    /\ IF r.registers
       THEN /\ watch' = [watch EXCEPT ![s][n] = Max2(z, @)]
            /\ due' = [due EXCEPT ![s] = @ \cup Late(r, n, z)]
       ELSE UNCHANGED <<watch, due>>
    /\ UNCHANGED <<storage, gateway, at, reads, moves>>

\* setWatches with the session's last zxid. Nodes that changed since then fire before the reply, and so do the watches
\* that were used up before the last of them was set; the others are armed again.
Rearm(s) ==
    LET r == queue[s][1]
        UsedUp(n) == \E e \in Late(r, n, r.got[n]) : e[1] <= Header(r) /\ Broken # "eventsAfterReply"
        told == {n \in r.nodes : r.got[n] > seen[s] \/ UsedUp(n)}
    IN
    /\ Ready(s) /\ ~Outdated(s)
    /\ r.rearm
    /\ queue' = [queue EXCEPT ![s] = Tail(@)]
    /\ seen' = [seen EXCEPT ![s] = Max2(Header(r), @)]
    /\ watch' = [watch EXCEPT ![s] = [n \in Nodes |->
            IF n \in told THEN None ELSE IF n \in r.nodes THEN Max2(r.got[n], @[n]) ELSE @[n]]]
    /\ due' = [due EXCEPT ![s] = @ \cup UNION {Late(r, n, r.got[n]) : n \in r.nodes \ told}]
    /\ UNCHANGED <<storage, gateway, at, reads, moves, stale>>

\* The events of the lowest zxid go out.
Event(s) ==
    LET z == Min({e[1] : e \in due[s]})
        nodes == {e[2] : e \in {e \in due[s] : e[1] = z}}
    IN
    /\ due[s] # {}
    /\ due' = [due EXCEPT ![s] = {e \in @ : e[1] > z}]
    /\ seen' = [seen EXCEPT ![s] = Max2(z, @)]
    /\ watch' = [watch EXCEPT ![s] = [n \in Nodes |-> IF n \in nodes THEN None ELSE @[n]]]
    /\ UNCHANGED <<storage, gateway, at, queue, reads, moves, stale>>

\* The reply to a write of the session, or any other reply that reflects z and is not a read.
WriteReply(s) ==
    \E z \in Zxids :
        /\ at[s] # Nowhere /\ queue[s] = <<>> /\ due[s] = {}
        /\ Complete(z) /\ z > seen[s]
        /\ z <= complete[at[s]] \/ Broken = "replyUnobserved"
        /\ seen' = [seen EXCEPT ![s] = z]
        /\ UNCHANGED <<storage, gateway, at, queue, due, watch, reads, moves, stale>>

-----------------------------------------------------------------------------
\* A gateway without connections observes nothing. Before the first one it finds out where things stand, so what
\* it knew until then does not matter.
Forget(g, left) ==
    IF \E t \in Sessions \ left : at[t] = g
    THEN UNCHANGED gateway
    ELSE /\ complete' = [complete EXCEPT ![g] = 0]
         /\ cursor' = [cursor EXCEPT ![g] = 0]
         /\ candidate' = [candidate EXCEPT ![g] = 0]
         /\ cache' = [cache EXCEPT ![g] = Empty]
         /\ gap' = [gap EXCEPT ![g] = 0]

Disconnect(s) ==
    /\ at[s] # Nowhere
    /\ moves < MaxMoves /\ moves' = moves + 1
    /\ at' = [at EXCEPT ![s] = Nowhere]
    /\ queue' = [queue EXCEPT ![s] = <<>>]
    /\ due' = [due EXCEPT ![s] = {}]
    /\ UNCHANGED <<storage, seen, watch, reads, stale>>
    /\ Forget(at[s], {s})

\* Through any gateway, which observes the client's last zxid first. Its library sends setWatches first.
Connect(s) ==
    LET nodes == {n \in Nodes : watch[s][n] # None}
    IN
    /\ at[s] = Nowhere
    /\ \E g \in Gateways :
        /\ at' = [at EXCEPT ![s] = g]
        /\ IF Serves(g)
           THEN complete[g] >= seen[s] /\ UNCHANGED gateway
           ELSE \E z \in Known \cup {0} :
                    /\ z >= seen[s]
                    /\ complete' = [complete EXCEPT ![g] = z]
                    /\ cursor' = [cursor EXCEPT ![g] = z]
                    /\ UNCHANGED <<candidate, cache, gap>>
        /\ queue' = [queue EXCEPT ![s] = IF nodes = {} THEN <<>> ELSE <<Asked(nodes, TRUE, TRUE, complete'[g])>>]
    /\ UNCHANGED <<storage, due, seen, watch, reads, moves, stale>>

Done ==
    /\ Len(writes) = MaxZxid /\ pending = {} /\ load = NotLoaded
    /\ \A g \in Gateways : Serves(g) => complete[g] = MaxZxid
    /\ \A s \in Sessions : at[s] # Nowhere /\ queue[s] = <<>> /\ due[s] = {}

Next ==
    \/ Load \/ Commit \/ Show \/ Expire
    \/ \E g \in Gateways : Learn(g) \/ Deliver(g)
    \/ \E s \in Sessions :
        \/ Read(s) \/ Execute(s) \/ Keep(s) \/ Recall(s) \/ Arrive(s) \/ Again(s) \/ Reply(s) \/ Rearm(s) \/ Event(s) \/ WriteReply(s)
        \/ Disconnect(s) \/ Connect(s)
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

Symmetry == Permutations(Gateways) \cup Permutations(Sessions)

-----------------------------------------------------------------------------
\* Z1: no session acts on a transaction that is not wholly visible.
Whole == \A s \in Sessions : Complete(seen[s])

\* Z3: what a session is shown never goes back.
NeverBack == ~stale

\* Z4: no session has seen z or later while it still waits for the event of z.
EventFirst ==
    \A s \in Sessions : \A n \in Nodes :
        watch[s][n] # None => \A z \in watch[s][n] + 1..seen[s] : n \notin writes[z]

\* No watch is lost: the first change after its registration is still ahead of the cursor, in an event record or
\* under a floor that will drop the connection.
NoLostWatch ==
    \A s \in Sessions : \A n \in Nodes :
        at[s] # Nowhere /\ Active(s, n) =>
            LET changes == {z \in Zxids : z > watch[s][n] /\ n \in writes[z]}
            IN  changes # {} => cursor[at[s]] < Min(changes) /\ n \in fires[Min(changes)]

\* What memory may answer is the state at what is complete.
CacheTrue ==
    \A g \in Gateways : \A n \in Nodes :
        LET entry == cache[g][n] IN
        entry # Nothing /\ entry[1] <= complete[g] => entry[1] = Shown(n, LastChange(n, complete[g]))

\* What a gateway published is complete, and none of its sessions is ahead of it.
Observed ==
    /\ \A g \in Gateways : Complete(complete[g])
    /\ \A s \in Sessions : at[s] # Nowhere => seen[s] <= complete[at[s]]

-----------------------------------------------------------------------------
\* Witnesses, which TLC must reach.
NeverFired == \A s \in Sessions : due[s] = {}
NeverBehind == \A s \in Sessions : queue[s] = <<>> \/ queue[s][1].events = {}
NeverMovedAndFired == ~\E s \in Sessions : moves = MaxMoves /\ due[s] # {} /\ \E g \in Gateways : at[s] = g
NeverDropped == ~\E s \in Sessions : at[s] = Nowhere /\ floor > 0 /\ \E n \in Nodes : watch[s][n] # None
NeverRecalled == ~\E s \in Sessions : queue[s] # <<>> /\ queue[s][1].recalled /\ queue[s][1].registers
NeverAgain == ~\E s \in Sessions : Ready(s) /\ Outdated(s)
=============================================================================
