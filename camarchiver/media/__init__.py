"""ffmpeg and PyAV: encoders, arguments, probing, verification. It knows nothing about trees and policies."""
