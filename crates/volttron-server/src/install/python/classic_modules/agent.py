"""What agents for VOLTTRON 9.x know as volttron.platform.agent."""
