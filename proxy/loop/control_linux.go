package loop

import (
	"time"

	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// resetCame ends a stream that the client does not want any more.
func (l *loop) resetCame(cl *client, id uint32) *h2.Error {
	fr := cl.fr
	s := fr.find(id)
	switch {
	case s == nil && (id > fr.last || id%2 == 0) && !fr.away:
		return h2.ErrStreamID // idle streams cannot be reset
	case s == nil:
		return nil
	}
	if !fr.calm.Reset(l.second, int(cl.entry.streams())) {
		return h2.ErrResets
	}
	s.st.gone = true
	l.kill(s)
	return nil
}

// settingsCame takes the client's settings.
func (l *loop) settingsCame(cl *client, p []byte) *h2.Error {
	fr := cl.fr
	was := fr.peer
	if err := fr.peer.Apply(p); err != nil {
		return err
	}
	if least := fr.peer.Least; least < was.Table {
		fr.enc.SetTable(cl.entry.encoderTable(), least)
	}
	if fr.peer.Table != was.Table || fr.peer.Least != was.Table {
		fr.enc.SetTable(cl.entry.encoderTable(), fr.peer.Table)
	}
	l.room(cl, 64)
	fr.out = h2.AppendSettingsAck(fr.out)
	if err := l.acked(cl); err != nil {
		return err
	}
	if d := int64(fr.peer.Window) - int64(was.Window); d != 0 {
		for _, s := range fr.streams {
			if s.st.window += d; s.st.window > h2.MaxWindow {
				return h2.ErrSettingFlow
			}
		}
		if d > 0 {
			l.windowsOpened(cl)
		}
	}
	return nil
}

// windowCame lets a stream, or all, send more.
func (l *loop) windowCame(cl *client, ev *h2.Event) *h2.Error {
	fr := cl.fr
	if ev.Stream == 0 {
		if fr.window += int64(ev.Increment); fr.window > h2.MaxWindow {
			return h2.ErrOverflow
		}
		l.windowsOpened(cl)
		return nil
	}
	s := fr.find(ev.Stream)
	switch {
	case s == nil && (ev.Stream > fr.last || ev.Stream%2 == 0) && !fr.away:
		return h2.ErrStreamID
	case s == nil:
		return nil
	}
	if s.st.window += int64(ev.Increment); s.st.window > h2.MaxWindow {
		return l.refuseStream(cl, ev.Stream, h2.FlowControlError)
	}
	l.sendOn(s)
	return nil
}

// framesFault ends a connection on which the client has broken the protocol.
func (l *loop) framesFault(cl *client, err *h2.Error) {
	l.log().Debug().Str("entryPointName", cl.entry.cfg.Name).Stringer("client", cl.peer).Str("fault", err.Text).Msg("HTTP/2 connection ended")
	fr := cl.fr
	l.room(cl, 64)
	fr.out = h2.AppendGoAway(fr.out, fr.last, err.Code)
	fr.away = true
	if err.Code == h2.EnhanceYourCalm {
		l.dropStreams(cl)
	} else {
		l.muteStreams(cl)
	}
	if err == h2.ErrPreface {
		l.kill(cl) // whoever that is does not understand a GOAWAY
		return
	}
	if l.flushFrames(cl); cl.dead {
		return
	}
	// It is not closed at once: what is under way from the client would reset it, and the
	// reason with it. The reference waits as long.
	l.recycle(cl.in)
	cl.in = nil
	cl.state, cl.budget = cLinger, maxDrain
	l.wheel.set(&cl.timer, l.now+int64(faultTime))
	if cl.readable {
		l.later(&cl.conn)
	}
}

// muteStreams ends the streams whose requests are not whole. The others are passed on, as by the
// reference and however the frames came, though their answers go nowhere: of frames that came
// together the fault would else take back what was asked before it.
func (l *loop) muteStreams(cl *client) {
	fr := cl.fr
	for i := len(fr.streams) - 1; i >= 0; i-- {
		s := fr.streams[i] // the last takes the place of one that ends
		if s.st.gone = true; !s.st.ended {
			l.kill(s)
		}
	}
	l.startStreams(cl)
}

// faultTime is how long a client may take to read why its connection ends.
const faultTime = time.Second
