------------------------------ MODULE Liveness ------------------------------
(***************************************************************************)
(* Sessions, their ephemerals, and gateways that die, stall, or look dead  *)
(* and are not. architecture.md, section 6.                                *)
(*                                                                         *)
(* Operations take effect one by one, as Commit.tla shows; only marking a  *)
(* gateway dead takes two steps, because the gateway changes its own item  *)
(* beside the sequencer. Each session has one ephemeral znode.             *)
(*                                                                         *)
(* There is no clock. Each successful beat permits its gateway to answer   *)
(* for a time that starts when the beat was sent; a timer that was armed   *)
(* with a beat comes due later than that permit ends. This is the only     *)
(* thing assumed of time, and it compares no two clocks.                   *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Gateways, Sessions,
    Refuge,       \* gateways that always beat in time: where sessions can move to
    MaxBeats,     \* of each gateway, its first included
    MaxAttaches,  \* of all sessions together
    MaxCrashes,   \* of gateways
    MaxReaperCrashes,
    Broken

VARIABLES
    item,      \* of each gateway, stored: its beat, whether it is dead, the timer's number
    up,        \* the process runs (it may still stall: any step can take for ever)
    call,      \* its beat under way: the beat, and "sent", "stored" or "refused"; or NoCall
    lapsed,    \* permits up to here have ended
    permit,    \* it answers its clients
    told,      \* it knows that it is dead
    timers,    \* delayed messages: gateway, beat seen, timer's number
    network,   \* of each gateway, an operation sent and not yet in the queue; or NoOp
    queue,     \* operations
    marking,   \* the sequencer has loaded the gateway's item and is about to mark it dead
    session,   \* stored: state, gateway, epoch; and who closed it
    ephemeral, \* whether the session's znode exists
    created,   \* history: its creation was answered
    attaches, crashes, reaperCrashes

vars == <<item, up, call, lapsed, permit, told, timers, network, queue, marking, session, ephemeral, created, attaches,
          crashes, reaperCrashes>>
process == <<up, call, lapsed, permit, told>>
stored == <<session, ephemeral, created>>
budgets == <<attaches, crashes, reaperCrashes>>

NoCall == [beat |-> 0, is |-> "none"]
NoOp == [do |-> "none"]
Answers(g) == up[g] /\ ~told[g] /\ permit[g]

Init ==
    /\ item = [g \in Gateways |-> [beat |-> 1, dead |-> FALSE, timer |-> 1]]
    /\ up = [g \in Gateways |-> TRUE]
    /\ call = [g \in Gateways |-> NoCall]
    /\ lapsed = [g \in Gateways |-> 0]
    /\ permit = [g \in Gateways |-> TRUE]
    /\ told = [g \in Gateways |-> FALSE]
    /\ timers = {[of |-> g, beat |-> 1, number |-> 1] : g \in Gateways \ Refuge}
    /\ network = [g \in Gateways |-> NoOp]
    /\ queue = <<>>
    /\ marking = FALSE
    /\ session = [s \in Sessions |-> [is |-> "new", gateway |-> CHOOSE g \in Gateways : TRUE, epoch |-> 0, by |-> "nobody"]]
    /\ ephemeral = [s \in Sessions |-> FALSE]
    /\ created = [s \in Sessions |-> FALSE]
    /\ attaches = 0 /\ crashes = 0 /\ reaperCrashes = 0

InQueue(op) == \E k \in 1..Len(queue) : queue[k] = op

-----------------------------------------------------------------------------
\* The gateway. It sends a beat, which is stored on condition that it is not dead, and learns what came of it.
Beat(g) ==
    /\ up[g] /\ ~told[g] /\ call[g] = NoCall
    /\ item[g].beat < MaxBeats
    /\ call' = [call EXCEPT ![g] = [beat |-> item[g].beat + 1, is |-> "sent"]]
    /\ UNCHANGED <<item, up, lapsed, permit, told, timers, queue, marking, stored, budgets, network>>

Store(g) ==
    /\ call[g].is = "sent"
    /\ IF item[g].dead /\ Broken # "deadMayBeat"
       THEN call' = [call EXCEPT ![g].is = "refused"] /\ UNCHANGED item
       ELSE call' = [call EXCEPT ![g].is = "stored"] /\ item' = [item EXCEPT ![g].beat = call[g].beat]
    /\ UNCHANGED <<up, lapsed, permit, told, timers, queue, marking, stored, budgets, network>>

\* The permit runs from the sending of the beat, so an answer that comes too late gives none.
Learn(g) ==
    /\ up[g]
    /\ call[g].is \in {"stored", "refused"}
    /\ call' = [call EXCEPT ![g] = NoCall]
    /\ permit' = [permit EXCEPT ![g] =
            call[g].is = "stored" /\ (call[g].beat > lapsed[g] \/ Broken = "permitFromAnswer")]
    /\ told' = [told EXCEPT ![g] = call[g].is = "refused"]
    /\ UNCHANGED <<item, up, lapsed, timers, queue, marking, stored, budgets, network>>

\* Time passes: the oldest permit ends.
Lapse(g) ==
    LET granted == IF call[g] = NoCall THEN item[g].beat ELSE call[g].beat - 1
        sent == IF call[g] = NoCall THEN item[g].beat ELSE call[g].beat
    IN
    /\ lapsed[g] < sent
    /\ lapsed' = [lapsed EXCEPT ![g] = @ + 1]
    /\ permit' = [permit EXCEPT ![g] = permit[g] /\ granted > lapsed[g] + 1]
    /\ UNCHANGED <<item, up, call, told, timers, queue, marking, stored, budgets, network>>

Crash(g) ==
    /\ up[g] /\ crashes < MaxCrashes
    /\ crashes' = crashes + 1
    /\ up' = [up EXCEPT ![g] = FALSE]
    /\ permit' = [permit EXCEPT ![g] = FALSE]
    /\ UNCHANGED <<item, call, lapsed, told, timers, queue, marking, stored, attaches, reaperCrashes, network>>

\* What its clients do. A request may arrive long after the gateway stopped answering. A gateway also closes the
\* sessions of clients that were silent for too long.
Send(g, op) ==
    IF g \in Refuge
    THEN queue' = Append(queue, op) /\ UNCHANGED network
    ELSE network[g] = NoOp /\ network' = [network EXCEPT ![g] = op] /\ UNCHANGED queue

Attach(s, g) ==
    /\ Answers(g)
    /\ session[s].is # "closed"
    /\ attaches < MaxAttaches /\ attaches' = attaches + 1
    /\ Send(g, [do |-> "attach", session |-> s, gateway |-> g])
    /\ UNCHANGED <<item, process, timers, marking, stored, crashes, reaperCrashes>>

Request(s) ==
    /\ session[s].is = "open"
    /\ Answers(session[s].gateway)
    /\ \E do \in {"create", "close"} :
        LET op == [do |-> do, session |-> s, epoch |-> session[s].epoch]
        IN  /\ do = "create" => ~created[s]
            /\ ~InQueue(op)
            /\ Send(session[s].gateway, op)
    /\ UNCHANGED <<item, process, timers, marking, stored, budgets>>

Arrive(g) ==
    /\ network[g] # NoOp
    /\ network' = [network EXCEPT ![g] = NoOp]
    /\ queue' = Append(queue, network[g])
    /\ UNCHANGED <<item, process, timers, marking, stored, budgets>>

-----------------------------------------------------------------------------
\* The reaper looks at a gateway when a timer comes due. If it dies before the message is deleted, the message comes
\* again. It asks to mark the gateway dead, and looks again; when the gateway is dead, it asks to expire its sessions.
Expirations(g) ==
    LET open == {s \in Sessions : session[s].is = "open" /\ session[s].gateway = g}
        Op(s) == [do |-> "expire", session |-> s, epoch |-> session[s].epoch]
        new == {Op(s) : s \in open} \ {queue[k] : k \in 1..Len(queue)}
    IN  CHOOSE ops \in [1..Cardinality(new) -> new] : {ops[k] : k \in 1..Cardinality(new)} = new

Due(t) == lapsed[t.of] >= t.beat

Look ==
    \E t \in timers : \E dies \in BOOLEAN :
        LET g == t.of
            stale == t.number # item[g].timer
            mark == [do |-> "mark", gateway |-> g, beat |-> t.beat]
        IN
        /\ Due(t)
        /\ dies => reaperCrashes < MaxReaperCrashes /\ ~stale
        /\ reaperCrashes' = IF dies THEN reaperCrashes + 1 ELSE reaperCrashes
        /\ \/ /\ stale /\ Broken # "noTimerNumber"
              /\ timers' = timers \ {t}
              /\ UNCHANGED <<item, queue>>
           \/ /\ ~stale \/ Broken = "noTimerNumber"
              /\ item[g].dead
              /\ queue' = queue \o Expirations(g)
              /\ timers' = IF dies THEN timers ELSE timers \ {t}
              /\ UNCHANGED item
           \/ /\ ~stale
              /\ ~item[g].dead /\ item[g].beat = t.beat
              /\ ~InQueue(mark) /\ ~dies
              /\ queue' = Append(queue, mark) \o IF Broken = "expireAtOnce" THEN Expirations(g) ELSE <<>>
              /\ timers' = IF Broken = "askOnce" THEN timers \ {t} ELSE timers
              /\ UNCHANGED item
           \* Alive: the next timer. Compare-and-set first, then the message; a crash between loses the chain, a crash
           \* after both leaves a message that is stale.
           \/ /\ ~stale \/ Broken = "noTimerNumber"
              /\ ~item[g].dead /\ item[g].beat # t.beat
              /\ item' = [item EXCEPT ![g].timer = @ + 1]
              /\ \E sends \in {TRUE} \cup {~dies} :
                    timers' = (IF dies THEN timers ELSE timers \ {t}) \cup
                              IF sends THEN {[of |-> g, beat |-> item[g].beat, number |-> item[g].timer + 1]} ELSE {}
              /\ UNCHANGED queue
        /\ UNCHANGED <<process, marking, stored, attaches, crashes, network>>

\* The janitor finds gateways whose timer is overdue.
Janitor(g) ==
    /\ ~item[g].dead
    /\ \A t \in timers : t.of = g => t.number # item[g].timer
    /\ item' = [item EXCEPT ![g].timer = @ + 1]
    /\ timers' = timers \cup {[of |-> g, beat |-> item[g].beat, number |-> item[g].timer + 1]}
    /\ UNCHANGED <<process, queue, marking, stored, budgets, network>>

-----------------------------------------------------------------------------
\* The sequencer.
Open(s, op) == session[s].is = "open" /\ (session[s].epoch = op.epoch \/ Broken = "noEpoch")

Close(s, by) ==
    /\ session' = [session EXCEPT ![s].is = "closed", ![s].by = by]
    /\ ephemeral' = IF Broken = "ephemeralsLater" THEN ephemeral ELSE [ephemeral EXCEPT ![s] = FALSE]
    /\ UNCHANGED created

Apply ==
    LET op == Head(queue)
        s == op.session
    IN
    /\ queue # <<>>
    /\ op.do # "mark"
    /\ queue' = Tail(queue)
    /\ CASE op.do = "attach" ->
                /\ IF session[s].is = "closed" \/ (item[op.gateway].dead /\ Broken # "attachToDead")
                   THEN UNCHANGED session
                   ELSE session' = [session EXCEPT ![s] =
                            [is |-> "open", gateway |-> op.gateway, epoch |-> @.epoch + 1, by |-> "nobody"]]
                /\ UNCHANGED <<ephemeral, created>>
         [] op.do = "create" ->
                /\ IF Open(s, op) \/ Broken = "noSessionCheck"
                   THEN ephemeral' = [ephemeral EXCEPT ![s] = TRUE] /\ created' = [created EXCEPT ![s] = TRUE]
                   ELSE UNCHANGED <<ephemeral, created>>
                /\ UNCHANGED session
         [] op.do = "close" -> IF Open(s, op) THEN Close(s, "client") ELSE UNCHANGED stored
         [] op.do = "expire" -> IF Open(s, op) THEN Close(s, "reaper") ELSE UNCHANGED stored
    /\ UNCHANGED <<item, process, timers, marking, budgets, network>>

\* Marking a gateway dead: load its item, then commit on condition that it is as loaded.
LoadMark ==
    /\ queue # <<>> /\ Head(queue).do = "mark" /\ ~marking
    /\ LET op == Head(queue)
           still == ~item[op.gateway].dead /\ item[op.gateway].beat = op.beat
       IN  /\ marking' = still
           /\ queue' = IF still THEN queue ELSE Tail(queue)
    /\ UNCHANGED <<item, process, timers, stored, budgets, network>>

CommitMark ==
    /\ marking
    /\ marking' = FALSE
    /\ LET op == Head(queue)
       IN  IF item[op.gateway].beat = op.beat \/ Broken = "noBeatCondition"
           THEN item' = [item EXCEPT ![op.gateway].dead = TRUE] /\ queue' = Tail(queue)
           ELSE UNCHANGED <<item, queue>>
    /\ UNCHANGED <<process, timers, stored, budgets, network>>

-----------------------------------------------------------------------------
Gateway(g) == Beat(g) \/ Store(g) \/ Learn(g) \/ Lapse(g)
Sequencer == Apply \/ LoadMark \/ CommitMark

\* Nothing is left to do once all sessions are closed or idle and no beat, timer or operation can go on.
Next ==
    \/ \E g \in Gateways \ Refuge : Gateway(g) \/ Crash(g) \/ Janitor(g)
    \/ \E g \in Gateways : Arrive(g) \/ \E s \in Sessions : Attach(s, g)
    \/ \E s \in Sessions : Request(s)
    \/ Look
    \/ Sequencer

Quiet ==
    /\ queue = <<>> /\ timers = {} /\ \A g \in Gateways : network[g] = NoOp
    /\ UNCHANGED vars

Spec ==
    /\ Init /\ [][Next \/ Quiet]_vars
    /\ WF_vars(Look) /\ WF_vars(Sequencer)
    /\ \A g \in Gateways \ Refuge : WF_vars(Lapse(g)) /\ WF_vars(Janitor(g)) /\ WF_vars(Store(g))

-----------------------------------------------------------------------------
\* In every complete state an ephemeral exists exactly while its session is open.
EphemeralsLive ==
    \A s \in Sessions :
        /\ ephemeral[s] => session[s].is = "open"
        /\ created[s] /\ session[s].is = "open" => ephemeral[s]

\* Only sessions of dead gateways are expired as such, and a dead gateway stays dead: no beat succeeds any more.
OnlyTheDead ==
    \A s \in Sessions : session[s].by = "reaper" => item[session[s].gateway].dead
DeadStayDead == [][\A g \in Gateways : item[g].dead => item'[g].dead /\ item'[g].beat = item[g].beat]_vars

\* No client is served by a gateway that has lost its session to the reaper.
NoneServed == \A s \in Sessions : session[s].by = "reaper" => ~Answers(session[s].gateway)

\* A session of a dead gateway is always on somebody's list.
NoOrphan ==
    \A s \in Sessions :
        session[s].is = "open" /\ item[session[s].gateway].dead =>
            \/ \E t \in timers : t.of = session[s].gateway
            \/ InQueue([do |-> "expire", session |-> s, epoch |-> session[s].epoch])

\* A doubled message does not fork the chain of timers.
OneChain ==
    \A g \in Gateways : Cardinality({t \in timers : t.of = g /\ (t.number = item[g].timer \/ Broken = "noTimerNumber")}) <= 1

\* The sessions of a gateway that died are closed in the end, unless they moved.
Reaped ==
    \A s \in Sessions : \A g \in Gateways :
        (session[s].is = "open" /\ session[s].gateway = g /\ ~up[g])
            ~> ~(session[s].is = "open" /\ session[s].gateway = g)

-----------------------------------------------------------------------------
NeverReaped == \A s \in Sessions : ~(session[s].by = "reaper" /\ created[s])
NeverReapedAlive == \A s \in Sessions : ~(session[s].by = "reaper" /\ up[session[s].gateway])
NeverSaved == \A s \in Sessions : ~(session[s].is = "open" /\ session[s].epoch = 2 /\ \E g \in Gateways : item[g].dead)
NeverLostChain == \A g \in Gateways \ Refuge : \E t \in timers : t.of = g /\ (t.number = item[g].timer \/ item[g].dead)
=============================================================================
